"""Runs in processes of their own that kill themselves, really, at a chosen moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.conftest import ROOT

# Children are forked from a server that has imported torch but never computed: quick and clean.
FORKS = multiprocessing.get_context("forkserver")
PRELOADED = ["experiment.run", "torch._dynamo"]
FORKS.set_forkserver_preload(PRELOADED)


def run_in_child(task: str, options: dict[str, Any], place: str = "", count: int = 0) -> int:
    """Run in a child; it gets SIGKILL at the ``count``-th ``place``. Returns its exit code.

    Places: after a ``step``, after a metrics ``row``, before a ``replace`` of an atomic write or
    the ``rename`` of a new folder, after a checkpoint is ``saved``, at the ``end`` after the last
    checkpoint. After a step also SIGTERM (``term``), or SIGINT and then one more (``interrupt``).
    """
    child = start_child(task, options, place, count)
    child.join(120)
    return child.exitcode


def start_child(task: str, options: dict[str, Any], place: str = "", count: int = 0) -> Any:
    """``run_in_child`` without waiting for its end: the process."""
    arguments = (task, options, place, count, os.getcwd(), dict(os.environ))
    child = FORKS.Process(target=_child, args=arguments)
    # The server imports by its own path, not by the test's.
    os.environ["PYTHONPATH"] = str(ROOT)
    child.start()
    return child


def _child(task: str, options: dict, place: str, count: int, folder: str, env: dict) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(1)
    from experiment import recorder
    from experiment import run as runs
    from experiment.settings import Settings

    places: dict[str, tuple[Any, str, bool]] = {
        "step": (runs.Recorder, "after_step", True),
        "term": (runs.Recorder, "after_step", True),
        "interrupt": (runs.Recorder, "after_step", True),
        "row": (recorder.MetricsFile, "write", True),
        "replace": (os, "replace", False),
        "rename": (os, "rename", False),
        "saved": (runs.Recorder, "save", True),
        "end": (runs.Recorder, "conclude", True),
    }
    if place:
        signals = {"term": [signal.SIGTERM], "interrupt": [signal.SIGINT, signal.SIGINT]}
        _kill_at(*places[place], count, signals.get(place, [signal.SIGKILL]))
    result = runs.run(Settings.parse(task, options), observer=lambda row: None)
    os._exit(result.exit_code)


def _kill_at(owner: Any, name: str, after: bool, count: int, signals: Sequence[int]) -> None:
    original: Callable = getattr(owner, name)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*args, **kwargs) if after else None
        for number in signals if calls == count else []:
            os.kill(os.getpid(), number)
        return result if after else original(*args, **kwargs)

    setattr(owner, name, counted)


def only_run(runs_dir: Path) -> Path:
    """The one run folder there."""
    [folder] = (path for path in runs_dir.iterdir() if not path.name.startswith("."))
    return folder


def assert_same_tensors(a: Any, b: Any, where: str = "") -> None:
    """Equal at tolerance 0, with the same keys, types and shapes, however nested."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same_tensors(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for n, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same_tensors(x, y, f"{where}/{n}")
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    else:
        assert a == b, where
