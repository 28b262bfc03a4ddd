"""By hand: runs killed again and again, gone on with, compared bit by bit with one left alone.

    python -m tests.faults.soak --kills 50       # at random times; each run once or twice
    python -m tests.faults.soak --in-a-row 20    # one run of each task, killed and resumed 20 times
    python -m tests.faults.soak --crashes 430    # at a random writing system call; runs and sweeps
    python -m tests.faults.soak --kills 5 --every 60    # the command of the README, and its goodput

Every kill is a SIGKILL. Checkpoints, metrics, tables and pictures are compared at tolerance 0.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common.log import log
from experiment.resume import state_of
from tests.cut import ROOT, only_run, run_in_child, start_child
from tests.faults.crash import crashes
from tests.test_resume import CLASSIFY, RESCONV, assert_same_runs

LONGER = {"images": 2048, "precision": "fp32"}  # auto may decide otherwise on a busy machine
TASKS = {"resconv": RESCONV | LONGER, "classify": CLASSIFY | LONGER}
MEASURED = [
    "resconv", "--data", "garments", "--train-images", "2000", "--val-images", "200", "--layers",
    "3", "--ch", "8", "--batch-size", "64", "--device", "cpu", "--mode", "disabled",
    "--precision", "fp32",
]  # fmt: skip


def killed_after(seconds: float, task: str, options: dict) -> bool:
    """Whether the run was still at work when SIGKILL came."""
    child = start_child(task, options)
    time.sleep(seconds)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


def left_alone(folder: Path, images: int) -> tuple[dict[str, Path], dict[str, float]]:
    """A whole run of each task, and its seconds."""
    whole, lengths = {}, {}
    run_in_child("resconv", RESCONV | {"runs_dir": str(folder / "warm-up")})
    for task, settings in TASKS.items():
        started = time.monotonic()
        options = settings | {"images": images, "runs_dir": str(folder / task)}
        assert run_in_child(task, options) == 0
        whole[task], lengths[task] = only_run(folder / task), time.monotonic() - started
        print(f"{task}: {lengths[task]:.1f} s uninterrupted", flush=True)
    return whole, lengths


def at_random_times(count: int, chance: random.Random, folder: Path) -> None:
    """Kill runs, each once or twice, at random times."""
    whole, lengths = left_alone(folder, 2048)
    trials = kills = 0
    while kills < count:
        task = chance.choice(sorted(TASKS))
        runs = folder / f"trial-{trials}"
        settings = TASKS[task] | {"runs_dir": str(runs), "resume": "auto"}
        for _ in range(chance.choice((1, 1, 2))):
            killed = killed_after(chance.uniform(0.1, 0.9) * lengths[task], task, settings)
            kills += killed
            if not killed:
                break  # it was faster than the one left alone
        if not any(state_of(run) == "finished" for run in runs.glob("*")):
            assert run_in_child(task, settings) == 0
        assert_same_runs(only_run(runs), whole[task])
        shutil.rmtree(runs)
        trials += 1
        print(f"trial {trials} ({task}): identical, {kills} kills so far", flush=True)
    print(f"{trials} of {trials} runs identical after {kills} kills")


def in_a_row(count: int, chance: random.Random, folder: Path) -> None:
    """Kill one run of each task ``count`` times, then let it finish."""
    images = 512 * count  # enough that it is not over before its last kill
    whole, lengths = left_alone(folder, images)
    for task, options in TASKS.items():
        runs = folder / f"killed-{task}"
        settings = options | {"images": images, "runs_dir": str(runs), "resume": "auto"}
        for number in range(count):
            child, before = start_child(task, settings), _last_saved(runs)
            while _last_saved(runs) == before and child.is_alive():
                time.sleep(0.02)
            time.sleep(chance.uniform(0, lengths[task] / count))
            child.kill()
            child.join()
            assert child.exitcode == -signal.SIGKILL, f"it was over before kill {number + 1}"
        rows = (only_run(runs) / "metrics.csv").read_text().splitlines()
        done = int(rows[-1].partition(",")[0]) / (images // int(options["batch_size"]))
        assert run_in_child(task, settings) == 0
        assert_same_runs(only_run(runs), whole[task])
        print(f"{task}: identical after {count} kills, the last at {done:.0%}", flush=True)


def _last_saved(runs: Path) -> int:
    """When the newest checkpoint was written."""
    files = runs.glob("[!.]*/checkpoints/last.pt")
    return max((file.stat().st_mtime_ns for file in files), default=0)


def one_in(seconds: float, count: int, checkpoint: int, images: int, folder: Path) -> None:
    """Kill the real command every ``seconds``, start it again at once; print its goodput."""
    command = [sys.executable, str(ROOT / "train.py"), *MEASURED, "--images", str(images)]
    command += ["--checkpoint-every", str(checkpoint), "--resume", "auto"]
    whole, runs = folder / "whole", folder / "runs"
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command, "--runs-dir", str(whole)], check=True, **quiet)
    started, kills, code = time.monotonic(), 0, None
    while code is None:
        process = subprocess.Popen([*command, "--runs-dir", str(runs)], **quiet)
        try:
            code = process.wait(seconds if kills < count else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert code == 0 and kills == count, f"exit code {code} after {kills} kills; see --images"
    wall = time.monotonic() - started
    assert_same_runs(only_run(runs), only_run(whole))
    summary = json.loads((only_run(runs) / "summary.json").read_text())
    print(
        f"identical after {kills} kills, one every {seconds:g} s: goodput {summary['goodput']:.1%} "
        f"by summary.json; by the clock, with the starts of Python, "
        f"{summary['seconds'] / wall:.1%} of {wall:.0f} s; {summary['time']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--in-a-row", type=int)
    parser.add_argument("--crashes", type=int)
    parser.add_argument("--every", type=float, help="seconds between two kills of one run")
    parser.add_argument("--checkpoint", type=int, default=20_000, help="images, for --every")
    parser.add_argument("--images", type=int, default=3_000_000, help="of the run, for --every")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    log.setLevel(logging.ERROR)
    chance = random.Random(options.seed)
    os.environ["WANDB_MODE"] = "disabled"
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"in {folder}, seed {options.seed}", flush=True)
    if options.in_a_row:
        in_a_row(options.in_a_row, chance, folder)
    elif options.crashes:
        print(crashes(options.crashes, options.seed, folder))
    elif options.every:
        one_in(options.every, options.kills, options.checkpoint, options.images, folder)
    else:
        at_random_times(options.kills, chance, folder)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
