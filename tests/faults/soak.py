"""By hand: runs killed at random moments of the clock, gone on with, compared bit by bit.

    python -m tests.faults.soak --kills 50

Each trial kills a run with SIGKILL after a random time, lets it go on with --resume auto (and, one
time in three, kills it again), and compares its final checkpoints, metrics, tables and pictures
with those of a run that was left alone, at tolerance 0.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

from experiment.resume import state_of
from tests.cut import only_run, run_in_child, start_child
from tests.test_resume import CLASSIFY, RESCONV, assert_same_runs

TASKS = {"resconv": RESCONV | {"images": 2048}, "classify": CLASSIFY | {"images": 2048}}


def killed_after(seconds: float, task: str, options: dict) -> bool:
    """Whether the run was still at work when SIGKILL came."""
    child = start_child(task, options)
    time.sleep(seconds)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    os.environ["WANDB_MODE"] = "disabled"
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"in {folder}, seed {options.seed}")
    whole, lengths = {}, {}
    run_in_child("resconv", RESCONV | {"runs_dir": str(folder / "warm-up")})
    for task, settings in TASKS.items():
        started = time.monotonic()
        assert run_in_child(task, settings | {"runs_dir": str(folder / task)}) == 0
        whole[task], lengths[task] = only_run(folder / task), time.monotonic() - started
        print(f"{task}: {lengths[task]:.1f} s uninterrupted", flush=True)
    trials = kills = same = 0
    while kills < options.kills:
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
        trials, same = trials + 1, same + 1
        print(f"trial {trials} ({task}): identical, {kills} kills so far", flush=True)
    shutil.rmtree(folder)
    print(f"{same} of {trials} runs identical after {kills} kills")


if __name__ == "__main__":
    main()
