"""Every test runs without account, network, or the user's own settings and caches."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.wandb_server import WandbServer

ROOT = Path(__file__).resolve().parent.parent
SIZE = 12  # pixels a side of the images that quick tests share
TINY = [
    "--data", "garments", "--train-images", "256", "--val-images", "40", "--size", "12",
    "--layers", "2", "--ch", "4", "--images", "256", "--batch-size", "32", "--log-every", "3",
    "--device", "cpu",
]  # fmt: skip
TINY_OPTIONS: dict[str, Any] = {
    name[2:].replace("-", "_"): value for name, value in zip(TINY[::2], TINY[1::2], strict=True)
}

SLOW_FIXTURES = {"shell", "server", "session"}
QUICK_SECONDS = 2.0  # on an idle machine; TEST_TIME_FACTOR multiplies it


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test slow or quick: slow by marker, or by a fixture that starts a process."""
    for item in items:
        starts_process = SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))
        slow = starts_process or item.get_closest_marker("slow")
        item.add_marker("slow" if slow else "quick")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """With ``-m quick`` a test that takes too long fails."""
    report = yield
    limit = QUICK_SECONDS * float(os.environ.get("TEST_TIME_FACTOR", "1"))
    timed = item.config.getoption("markexpr") == "quick" and call.when == "call"
    if timed and report.passed and call.duration > limit:
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} took {call.duration:.1f} s, a quick test at most {limit:.1f} s: make "
            "it faster or mark it slow (TEST_TIME_FACTOR=3 on a busy machine)"
        )
    return report


def pytest_configure() -> None:
    """Take signals as a command in a terminal does; background jobs and nohup ignore some."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # More threads round otherwise, and those of several processes wait for each other.
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start


class Outcome(NamedTuple):
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def alone(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """An empty home and working folder, no W&B variables, and no W&B run left open."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    work = tmp_path_factory.mktemp("work")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.chdir(work)
    yield
    wandb: Any = sys.modules.get("wandb")
    if wandb and wandb.run:
        wandb.teardown(exit_code=1)
        wandb.run = None  # a run whose W&B process was killed is still named there
    setup: Any = sys.modules.get("wandb.sdk.wandb_setup")
    if setup and setup._singleton:
        setup._singleton._settings = None  # the next test has settings of its own


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the real command line in this process: ``cli("resconv", "--layers", 2)``."""
    from train import main

    def call(*args: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return Outcome(int(end.value.code or 0), str(out), str(err))

    return call


@pytest.fixture
def shell() -> Callable[..., Outcome]:
    """Call the real command line in a process of its own."""

    def call(*args: object, **env: str) -> Outcome:
        command = [sys.executable, str(ROOT / "train.py"), *map(str, args)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=os.environ | env
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A W&B server for runs in this process, whose client remembers the first one it meets."""
    import wandb

    wandb.teardown()
    with WandbServer() as server:
        for name, value in server.env(tmp_path / "wandb").items():
            monkeypatch.setenv(name, value)
        yield server
        wandb.teardown()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every download of a data set fails."""
    from data import download

    def fail(folder: Path, files: dict[str, str]) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(download, "download", fail)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a server on this machine for the files of ``tmp_path / "served"``."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "served").mkdir()
    handler = partial(QuietHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# The commands of a JSON list, in one process; a pattern stands for the files that fit it.
IN_ONE_PROCESS = """
import contextlib, glob, io, json, sys
from train import main
for words in json.loads(sys.argv[1]):
    words = [w for word in words for w in (glob.glob(word) if "*" in word else [word])]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            code = end.code or 0
    print("DONE " + json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def outcomes(printed: str) -> list[Outcome]:
    """How each of the commands of ``IN_ONE_PROCESS`` ended, from what they printed."""
    return [Outcome(*json.loads(line[5:])) for line in printed.splitlines() if line[:5] == "DONE "]


def run_folder(outcome: Outcome) -> Path:
    """The run folder that a finished command named."""
    [folder] = re.findall(r"^run folder\s+(\S+)$", outcome.out, re.MULTILINE)
    return Path(folder)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def summary_of(folder: Path) -> dict[str, Any]:
    """The summary that a run left."""
    return json.loads((folder / "summary.json").read_text())


def make_training(command: str = "resconv", **options: object) -> Any:
    """The trainer of ``command`` with ``options``, for ``resconv`` on top of ``TINY_OPTIONS``."""
    from experiment.run import make_trainer
    from experiment.settings import Settings
    from training.hardware import choose_hardware

    base = TINY_OPTIONS if command == "resconv" else {}
    settings = Settings.parse(command, base | options)
    return make_trainer(settings, choose_hardware(settings.hardware))


class Rows:
    """A recorder for tests: keeps the rows, and calls ``each_step`` after every step."""

    def __init__(self, each_step: Callable[[], object] = lambda: None) -> None:
        self.rows: list[dict[str, float]] = []
        self.each_step = each_step

    def row(self, row: dict[str, float], trainer: object) -> None:
        self.rows.append(row)

    def after_step(self, trainer: object) -> None:
        self.each_step()


def rows_of(trainer: Any, each_step: Callable[[], object] = lambda: None) -> list[dict[str, float]]:
    """Train to the end; the rows."""
    from experiment.stop import StopRequest
    from training.loop import train

    recorder = Rows(each_step)
    assert train(trainer, recorder, StopRequest())
    return recorder.rows


def make_tiny_splits() -> dict[str, tuple[Tensor, Tensor]]:
    """Grey images [n 1 12 12] of four classes and their labels: train, val and test.

    Each class has stripes of its own direction, so that both tasks can be learnt in a few steps.
    """
    numbers = np.random.default_rng(7)
    y, x = np.mgrid[:SIZE, :SIZE]
    waves = [x, y, x + y, x - y]
    splits = {}
    for name, count in {"train": 96, "val": 40, "test": 24}.items():
        labels = np.arange(count) % 4
        images = np.empty((count, 1, SIZE, SIZE), np.uint8)
        for image, label in zip(images, labels, strict=True):
            phase, noise = numbers.uniform(0, 6), numbers.uniform(-20, 20, (SIZE, SIZE))
            image[0] = 128 + 90 * np.sin(waves[label] + phase) + noise
        splits[name] = (torch.from_numpy(images), torch.from_numpy(labels))
    return splits


@pytest.fixture(scope="session")
def tiny_splits() -> dict[str, tuple[Tensor, Tensor]]:
    """``make_tiny_splits``, once for all tests."""
    return make_tiny_splits()


@pytest.fixture(scope="session")
def tiny_data(tiny_splits: dict[str, tuple[Tensor, Tensor]]) -> Any:
    """``tiny_splits`` as the one small data set in memory that quick tests share."""
    from tests.adapters import image_data

    return image_data(tiny_splits["train"], tiny_splits["val"], tiny_splits["test"])
