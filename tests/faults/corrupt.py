"""Corruptions of a run or a journal: each is recovered from or refused in one line, none used.

``python -m tests.faults.corrupt --count 1600`` by hand; ``test_faults.py`` does some of them.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.log import log
from experiment import resume, run
from experiment.settings import Settings
from experiment.stop import StopRequest
from tasks.registry import make_task
from tests.cut import assert_same_tensors, only_run
from tests.faults.damage import damaged
from tests.faults.journal import journal_corruptions
from tests.test_resume import CLASSIFY
from tracking.metrics_file import MetricsFile

FILES = (
    "config.yaml",
    "metrics.csv",
    *(f"checkpoints/{n}.pt" for n in ("last", "previous", "best")),
)
OPTIONS = CLASSIFY | {
    "train_images": 64, "val_images": 20, "images": 192, "batch_size": 16, "log_every": 1,
    "checkpoint_every": "none",
}  # fmt: skip


def make_runs(folder: Path) -> tuple[Path, Path]:
    """Two runs, stopped after their second validation."""
    found = []
    for seed in (0, 1):
        stop = StopRequest()

        def observe(row, stop: StopRequest = stop) -> None:
            if row.get("step") == 9:
                stop.request("enough", preempted=True)

        runs = folder / str(seed)
        settings = Settings.parse("classify", OPTIONS | {"runs_dir": str(runs), "seed": seed})
        assert run.run(settings, observer=observe, stop=stop).state == "preempted"
        found.append(only_run(runs))
    return found[0], found[1]


def what_resumes(folder: Path) -> dict[str, Any]:
    """What a resumed run starts from: settings, checkpoint, rows, best weights."""
    values = resume.merge_stored_settings("classify", {"resume": str(folder)})
    settings = Settings.parse("classify", values)
    resumed = resume.find(settings)
    assert resumed
    try:
        saved = run._load_last(resumed, resumed.config)
        best = folder / "checkpoints" / "best.pt"
        step = saved["training"]["step"] if saved else 0
        columns = make_task(settings).metrics
        metrics = MetricsFile(folder / "metrics.csv", columns, step, saved.get("metrics"))
        rows = metrics.read()
        metrics.close()
        return {
            "settings": settings.replace(resume=None).flat(), "saved": saved, "rows": rows,
            "best": run.checkpoints.load(best)["model"] if saved.get("best") else {},
            "config": {k: v for k, v in resumed.config.items() if k != "started_at"},
        }  # fmt: skip
    finally:
        resumed.folder.unlock()


def corruptions(count: int, seed: int, folder: Path) -> Counter[str]:
    """Do ``count`` corruptions; how many were recovered from, refused, or without effect.

    Raises ``AssertionError`` for one that would be trained on.
    """
    chance, outcomes = random.Random(seed), Counter[str]()
    whole, other = make_runs(folder)
    copy = folder / "copies" / whole.name
    allowed = []
    for name in ("last", "previous"):  # false alarms would be raised here
        shutil.copytree(whole, copy)
        if name == "previous":
            (copy / "checkpoints" / "last.pt").unlink()
        allowed.append(what_resumes(copy))
        shutil.rmtree(copy)
    for _ in range(count):
        shutil.copytree(whole, copy)
        file = chance.choice(FILES)
        if chance.random() < 0.2:
            source = chance.choice((whole, other)) / chance.choice(FILES)
            kind, data = f"swapped with {source}", source.read_bytes()
        else:
            kind, data = damaged((copy / file).read_bytes(), chance)
        same = data == (copy / file).read_bytes()
        (copy / file).unlink()
        if data is not None:
            (copy / file).write_bytes(data)
        try:
            found = what_resumes(copy)
        except InputError as error:
            assert not same, f"false alarm: {error}"
            assert "\n" not in str(error), f"{file} {kind}: more than one line: {error}"
            outcomes["refused"] += 1
        else:
            reason = None
            for expected in allowed:
                try:
                    assert_same_tensors(found, expected, f"{file} {kind}: ")
                    break
                except AssertionError as error:
                    reason = error
            else:
                raise AssertionError(f"{file} {kind} would be trained on: {reason}")
            outcomes["undamaged" if same else "recovered"] += 1
        shutil.rmtree(copy)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    log.setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        quarter = options.count // 4
        print(dict(journal_corruptions(quarter, options.seed, Path(folder))), flush=True)
        print(dict(corruptions(options.count - quarter, options.seed, Path(folder))))


if __name__ == "__main__":
    main()
