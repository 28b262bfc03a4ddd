"""Crashes: processes killed at a random writing system call, gone on with, compared bit by bit.

A trial is a run, or a sweep of two points, whose process is killed up to six times and then
finishes; ``tests.faults.soak --crashes`` does many, ``test_faults.py`` a few.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.log import log
from experiment.resume import state_of
from tests.cut import FORKS, PRELOADED, ROOT, only_run
from tests.faults.calls import Count, Crash, intercepted
from tests.test_resume import CLASSIFY, RESCONV, assert_same_runs
from tracking.folder import read_config

# Children are forked from a server that has imported what they need.
FORKS.set_forkserver_preload(["tests.faults.crash", "sweeps.worker", *PRELOADED])
KILLS = 6  # of a trial, at most
# The precision that --precision auto takes may change with the machine's load.
SMALL = {"train_images": 48, "val_images": 10, "images": 96, "batch_size": 16,
         "checkpoint_every": 32, "precision": "fp32"}  # fmt: skip
SWEEP = {
    "name": "crashes", "method": "grid", "program": "train.py",
    "command": ["${env}", "${interpreter}", "${program}", "resconv", "${args}"],
    "metric": {"name": "val/l1", "goal": "minimize"},
}  # fmt: skip


def train(task: str, folder: Path) -> int:
    """One process of a run; its exit code."""
    from experiment.run import run
    from experiment.settings import Settings

    options = (RESCONV if task == "resconv" else CLASSIFY) | SMALL
    options = options | {"runs_dir": str(folder), "resume": "auto"}
    return run(Settings.parse(task, options), observer=lambda row: None).exit_code


def sweep(task: str, folder: Path) -> int:
    """One process of a sweep of two points: command and worker in one."""
    from sweeps.study import Study
    from sweeps.sweep_file import parse_sweep
    from sweeps.worker import Job, Worker

    fixed = {k: {"value": v} for k, v in (RESCONV | SMALL).items() if k != "mode"}
    parameters = fixed | {"layers": {"values": [2, 3]}}
    file, definition = folder / "crashes.yaml", SWEEP | {"parameters": parameters}
    study = Study(str(folder / "studies" / "a.journal"), parse_sweep(file, definition))
    study.enqueue_missing()
    job = Job(
        study.where, str(file), definition, study.command, str(folder / "runs"),
        tracking={"mode": "disabled"},
    )  # fmt: skip
    Worker(job, threading.Event()).work()
    return 0 if all(status.state == "done" for status in study.statuses()) else 1


TASKS: dict[str, Callable[[str, Path], int]] = {
    "resconv": train, "classify": train, "sweep": sweep,
}  # fmt: skip


def _child(task: str, folder: Path, last: int, counted: Any) -> None:
    os.environ["WANDB_MODE"] = "disabled"
    log.setLevel(logging.ERROR)
    handler = Crash(last) if last else Count()
    with intercepted(handler):
        code = TASKS[task](task, folder)
    counted.value = handler.calls
    os._exit(code)


def in_child(task: str, folder: Path, last: int = 0) -> tuple[int, int]:
    """Exit code of a child that is killed at its ``last``-th writing call, and how many it made."""
    os.environ["PYTHONPATH"] = str(ROOT)  # of the server that forks
    counted = FORKS.Value("i", 0)
    child: Any = FORKS.Process(target=_child, args=(task, folder, last, counted))
    child.start()
    child.join(300)
    return child.exitcode, counted.value


def runs_of(task: str, folder: Path) -> dict[str, Path]:
    """The run folders of a trial by point; one each."""
    if task != "sweep":
        return {"": only_run(folder)}
    shown = [path for path in (folder / "runs").iterdir() if not path.name.startswith(".")]
    runs = {str(read_config(path)["layers"]): path for path in shown}
    assert len(runs) == len(shown) == 2, f"points trained twice: {shown}"
    return runs


def is_over(task: str, folder: Path) -> bool:
    """Whether a run has finished: its command given again would begin a new one."""
    return task != "sweep" and any(state_of(run) == "finished" for run in folder.glob("[!.]*"))


def crashes(count: int, seed: int, folder: Path, tasks: tuple[str, ...] = tuple(TASKS)) -> str:
    """Crash ``count`` times; a line that says what was done.

    Raises ``AssertionError`` where a killed process is not gone on with bit by bit.
    """
    chance = random.Random(seed)
    wholes, calls = {}, {}
    for task in tasks:
        code, calls[task] = in_child(task, folder / task)
        assert code == 0, f"{task} left alone: exit code {code}"
        wholes[task] = runs_of(task, folder / task)
    killed = trials = 0
    while killed < count:
        task, trial = tasks[trials % len(tasks)], folder / f"trial-{trials}"
        trials, code = trials + 1, -9
        for _ in range(chance.randint(1, min(KILLS, count - killed))):
            # The square: most calls of a run are pictures at its end.
            last = 1 + int(calls[task] * chance.random() ** 2)
            code, _ = in_child(task, trial, last)
            assert code in (0, -9), f"{task}, trial {trials}, call {last}: exit code {code}"
            killed += code == -9
            if code == 0 or is_over(task, trial):
                break
        if code and not is_over(task, trial):
            code, _ = in_child(task, trial)
            assert code == 0, f"{task}, trial {trials}: exit code {code}"
        for point, run in runs_of(task, trial).items():
            assert_same_runs(run, wholes[task][point])
        shutil.rmtree(trial)
        print(f"trial {trials} ({task}): identical, {killed} crashes so far", flush=True)
    made = ", ".join(f"{task} {calls[task]}" for task in tasks)
    return f"{killed} crashes in {trials} trials, all identical (writing calls: {made})"
