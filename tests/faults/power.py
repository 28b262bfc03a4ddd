"""Power cuts: what was reported as saved is on the disk, and the run or the sweep is gone on with.

``python -m tests.faults.power --cuts 400`` by hand; ``test_faults.py`` does some. A training and a
sweep are recorded; each cut makes a folder as the disk may hold it then (``tests.faults.disk``).
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
from unittest import mock

from common.log import log
from experiment import run as runs
from experiment.resume import state_of
from experiment.settings import Settings
from tests.cut import only_run
from tests.faults.calls import intercepted
from tests.faults.corrupt import OPTIONS, what_resumes
from tests.faults.disk import Disk
from tests.faults.journal import assert_all_done, do_points, restarted, study_in
from tests.test_resume import assert_same_runs, rows_of

TASK = "classify"
TRAIN = OPTIONS | {"checkpoint_every": 32, "images": 128, "log_every": 2}


def train(folder: Path) -> Disk:
    """Train in ``folder``, or go on; what happened on the disk, each saved step as a mark."""
    disk = Disk(folder)
    save = runs.Recorder.save

    def saved(self: Any, trainer: Any) -> None:
        save(self, trainer)
        disk.mark(trainer.step)

    options = TRAIN | {"runs_dir": str(folder / "runs"), "resume": "auto"}
    with mock.patch.object(runs.Recorder, "save", saved), intercepted(disk):
        result = runs.run(Settings.parse(TASK, options), observer=lambda row: None)
    assert result.state == "finished"
    disk.mark("finished")
    return disk


def moment(disk: Disk, chance: random.Random) -> tuple[int, Any]:
    """When the power is cut, half of the time just after a report; the last report before."""
    if disk.marks and chance.random() < 0.5:
        at = chance.choice(disk.marks)[0]
    else:  # the square: most of what a run writes are pictures at its end
        made = len(disk.operations) - disk.at_start
        at = disk.at_start + round(made * chance.random() ** 2)
    return at, max((mark for mark in disk.marks if mark[0] <= at), default=(0, None))[1]


def check_run(folder: Path, reported: Any, whole: Path) -> str:
    """What the cut left of a run: nothing yet, a run to go on with, or a finished one."""
    found = list((folder / "runs").glob("[!.]*/config.yaml"))
    if not found:
        assert reported is None, f"the run is lost, step {reported} was saved"
        return "nothing"
    [config] = found
    if state_of(config.parent) == "finished":
        last, wanted = (rows_of(path / "metrics.csv") for path in (config.parent, whole))
        assert last == wanted, "rows of a finished run are lost"
        return "finished"
    assert reported != "finished", "the end of the run is lost"
    saved = what_resumes(config.parent)["saved"]
    step = saved["training"]["step"] if saved else 0
    assert step >= (reported or 0), f"step {reported} was saved, and the run resumes at {step}"
    return "resumed"


def cut_runs(count: int, seed: int, folder: Path, resumed: float = 1.0) -> Counter[str]:
    """Cut the power ``count`` times; a share of ``resumed`` is then trained to its end.

    One in four of these is cut once more while it goes on. Raises ``AssertionError`` for a loss.
    """
    chance, outcomes = random.Random(seed), Counter[str]()
    (folder / "whole").mkdir()
    first = train(folder / "whole")
    whole = only_run(folder / "whole" / "runs")
    disk, goes_on = first, False
    for number in range(count):
        at, reported = moment(disk, chance)
        copy = folder / f"cut-{number}"
        disk.after_cut(at, chance, copy)
        try:
            outcome = check_run(copy, reported, whole)
        except Exception as error:
            raise AssertionError(f"cut {number}, after {at} operations: {error}") from error
        outcomes[outcome] += 1
        disk, goes_on = first, outcome != "finished" and chance.random() < resumed
        if goes_on:
            second = train(copy)
            assert_same_runs(only_run(copy / "runs"), whole)
            outcomes["identical at the end"] += 1
            disk = second if chance.random() < 0.25 else first
        shutil.rmtree(copy)
    return outcomes


def cut_sweeps(count: int, seed: int, folder: Path) -> Counter[str]:
    """Cut the power ``count`` times while a sweep is recorded, then do the rest of its points.

    Raises ``AssertionError`` where a recorded point is lost or done twice.
    """
    chance, outcomes = random.Random(seed), Counter[str]()
    (folder / "sweep").mkdir()
    disk = Disk(folder / "sweep")
    with intercepted(disk):
        do_points(study_in(folder / "sweep"), disk.mark)
    for number in range(count):
        at, _ = moment(disk, chance)
        copy = folder / f"sweep-cut-{number}"
        disk.after_cut(at, chance, copy)
        with restarted():
            study = study_in(copy)
            before = {s.point.key: s.value for s in study.statuses() if s.state == "done"}
            reported = dict(mark for position, mark in disk.marks if position <= at)
            assert reported.items() <= before.items(), f"cut {number}: a recorded point is lost"
            do_points(study)
            assert_all_done(copy)
        outcomes[f"{len(before)} points kept"] += 1
        shutil.rmtree(copy)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    log.setLevel(logging.ERROR)
    with (
        mock.patch.dict("os.environ", WANDB_MODE="disabled"),
        tempfile.TemporaryDirectory() as name,
    ):
        print(dict(cut_sweeps(options.cuts, options.seed, Path(name))), flush=True)
        print(dict(cut_runs(options.cuts, options.seed, Path(name))))


if __name__ == "__main__":
    main()
