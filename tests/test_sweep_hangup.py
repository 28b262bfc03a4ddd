"""A sweep whose terminal is closed, or whose own process is killed: no work goes on unseen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.cut import only_run
from tests.small_sweeps import ONE_POINT, Command, alive, children, done_points, wait_until, write

pytestmark = pytest.mark.slow

LONG = ONE_POINT.replace(
    "  images: {value: 256}", "  images: {value: 10240}\n  checkpoint_every: {value: 256}"
)


@pytest.mark.parametrize("how", ["its terminal is closed", "its scheduler sends SIGUSR1"])
def test_a_stopped_sweep_saves_its_current_run_and_continues_with_the_same_command(how):
    """SIGUSR1 is what SLURM sends before the time limit."""
    file, hangup = write(LONG), how == "its terminal is closed"
    ours, terminal = os.openpty()
    command = [sys.executable, str(ROOT / "train.py"), "sweep", str(file), "--mode", "disabled"]
    sweep = subprocess.Popen(
        [*(["setsid", "--ctty"] if hangup else []), *command],
        stdin=terminal, stdout=terminal, stderr=terminal,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm"},
    )  # fmt: skip
    os.close(terminal)
    wait_until(lambda: list(Path("runs").glob("*/checkpoints/last.pt")))
    workers = children(sweep.pid)
    assert len(workers) == 1
    if hangup:
        os.close(ours)
    else:
        sweep.send_signal(signal.SIGUSR1)
    assert sweep.wait(30) == 130
    wait_until(lambda: not any(map(alive, workers)), 5)
    folder = only_run(Path("runs"))
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["state"], summary["reason"]) == ("preempted", "stopped by SIGTERM")
    assert 0 < summary["images_seen"] < 10240 and not done_points()
    if hangup:
        assert Command(file, "--mode", "disabled").end() == 0 and only_run(Path("runs")) == folder
        assert set(done_points().values()) == {1}


PARENT = """
import os, subprocess, sys, threading, time
for _ in range(8):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
wrapper = [sys.executable, os.environ["WRAPPER"], str(os.getpid())]
subprocess.Popen([*wrapper, "count.py", "told.txt"])
time.sleep(60)
"""
COUNT = """
import signal, sys, time
told = []
signal.signal(signal.SIGINT, lambda *_: told.append(time.monotonic()))
open(sys.argv[1], "w").close()
while not told or time.monotonic() < told[0] + 1:
    time.sleep(0.01)
open(sys.argv[1], "w").write(f"{len(told)} told {__name__} {sys.argv}")
"""


def test_the_death_of_a_parent_with_many_threads_is_signalled_once():
    Path("count.py").write_text(COUNT)
    environment = os.environ | {"WRAPPER": str(ROOT / "sweeps" / "parent_death.py")}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment)
    wait_until(Path("told.txt").exists)
    parent.kill()
    parent.wait()
    wait_until(Path("told.txt").read_text)
    assert Path("told.txt").read_text() == "1 told __main__ ['count.py', 'told.txt']"
