"""Small sweeps for tests: definitions, studies, claims of points, and the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import yaml
from optuna.storages.journal import JournalFileBackend, JournalStorage

from sweeps.claims import Claim, Claims
from sweeps.space import Sweep
from sweeps.study import Study
from sweeps.sweep_file import read_sweep
from tests.conftest import ROOT

COMMAND = 'command: ["${env}", "${interpreter}", "${program}", resconv, "${args}"]\n'
HEAD = f"""\
method: grid
program: train.py
{COMMAND}metric: {{name: val/l1, goal: minimize}}
parameters:
"""
MINI = f"""\
# Question: what does a tiny net restore?
name: mini
{HEAD}\
  data: {{value: garments}}
  size: {{value: 12}}
  train_images: {{value: 256}}
  val_images: {{value: 40}}
  images: {{value: 256}}
  ch: {{value: 4}}
  layers: {{values: [1, 2, 3]}}
  ks: {{values: [3, 5]}}
"""
ONE_POINT = MINI.replace("[1, 2, 3]", "[1]").replace("[3, 5]", "[3]")
SHORT = ONE_POINT.replace("\n  images: {value: 256}", "\n  images: {value: 64}")
JOURNAL = "studies/mini.journal"
RESULT = {"folder": "f", "run_id": "r"}  # of a run, for ``Claims.done``


def write(text: str = MINI, name: str = "mini.yaml") -> Path:
    file = Path(name)
    file.write_text(text)
    return file


def sweep_of(text: str = MINI, **options: bool) -> Sweep:
    """The sweep of ``text``, read from a file."""
    return read_sweep(write(text), **options)


def open_study(text: str = MINI) -> tuple[Study, Claims]:
    """The study of a sweep, its points queued, and this process's claims on them."""
    study = Study(JOURNAL, sweep_of(text))
    study.enqueue_missing()
    return study, Claims(study)


def states(study: Study) -> list[str]:
    return [status.state for status in study.statuses()]


def next_claim(claims: Claims) -> Claim:
    """The next claim, which must be there."""
    claim = claims.next()
    assert claim, "no point waits"
    return claim


def all_claims(claims: Claims) -> Iterator[Claim]:
    """Claims until no point waits."""
    while claim := claims.next():
        yield claim


class Command:
    """``train.py sweep`` in a process of its own, whose lines can be waited for."""

    def __init__(self, *args: object, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), "sweep", *map(str, args)],
            stdout=subprocess.PIPE, text=True, cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.lines: list[str] = []

    def wait_for(self, text: str) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f"{text!r} never came: {self.lines}")

    def end(self) -> int:
        self.lines += self.process.stdout or ()
        return self.process.wait()


def shared_study(folders: list[Path], study: object) -> list[Command]:
    """A command in each of the folders, which are made, on one study of ``MINI``."""
    commands = []
    for folder in folders:
        folder.mkdir()
        (folder / "mini.yaml").write_text(MINI)
        args = ("mini.yaml", "--study", study, "--mode", "disabled")
        commands.append(Command(*args, cwd=folder))
    return commands


def assert_each_point_once(commands: list[Command], folders: list[Path], study: object) -> None:
    """The commands of ``shared_study`` end well, having trained each point once among them."""
    assert {command.end() for command in commands} == {0}
    done = done_points(study)
    assert len(done) == 6 and set(done.values()) == {1}
    assert sum((finished_runs(folder / "runs") for folder in folders), Counter()) == done


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def wait_until(holds: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def done_points(where: object = JOURNAL) -> Counter:
    """How often each point of the study at ``where`` was done."""
    bare = str(where) if "://" in str(where) else JournalStorage(JournalFileBackend(str(where)))
    trials = optuna.load_study(study_name="mini", storage=bare).trials
    return Counter(trial.user_attrs["point"] for trial in trials if trial.state.name == "COMPLETE")


def finished_runs(runs: Path) -> Counter:
    """How often each point has a finished run folder."""
    points = []
    for file in runs.glob("*/summary.json"):
        if json.loads(file.read_text())["state"] == "finished":
            points.append(yaml.safe_load((file.parent / "config.yaml").read_text())["sweep"])
    assert {(p["name"], p["file"]) for p in points} <= {("mini", "mini.yaml")}
    return Counter(p["point"] for p in points)
