"""Told to stop inside a sweep, a run is handed out again by W&B's agent and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, TINY, read_csv, summary_of
from tests.cut import only_run
from tests.wandb_server import WandbServer, quick_agent

pytestmark = pytest.mark.slow

# The first time it gets SIGTERM after ten steps.
PROGRAM = """
import os, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from train import main
from experiment.recorder import Recorder
after_step = Recorder.after_step
def stopping(self, trainer):
    if trainer.step == 10 and not self.resumed:
        os.kill(os.getpid(), signal.SIGTERM)
    after_step(self, trainer)
Recorder.after_step = stopping
main()
"""
SWEEP = """
program: program.py
method: grid
metric: {{name: val/l1, goal: minimize}}
parameters:
  lr: {{values: [0.001]}}
command: [{python}, "${{program}}", resconv, {options}, "${{args}}"]
"""


def test_an_agent_resumes_a_preempted_run(tmp_path):
    options = ", ".join(f'"{o}"' for o in [*TINY, "--images", "512"])
    Path("program.py").write_text(PROGRAM.format(root=str(ROOT)))
    Path("sweep.yaml").write_text(SWEEP.format(python=sys.executable, options=options))
    with WandbServer() as server:
        env = os.environ | server.env(tmp_path / "wandb")

        made = [sys.executable, "-m", "wandb", "sweep", "--project", "nets", "sweep.yaml"]
        subprocess.run(made, env=env, check=True, timeout=200)
        [sweep] = server.sweeps
        agent = quick_agent("--forward-signals", sweep.path)
        subprocess.run(agent, env=env, check=True, timeout=200)
        [run] = server.runs
    folder = only_run(Path("runs"))
    assert folder.name.endswith(run.id)
    steps = [int(row["step"]) for row in read_csv(folder / "metrics.csv")]
    assert steps == [3, 6, 8, 9, 12, 15, 16]
    assert [row["_step"] for row in run.rows] == [0, *steps]
    assert (run.state, run.exit_code, run.sweep) == ("finished", 0, sweep.id)
    assert summary_of(folder)["state"] == "finished"
