"""Fixtures of tests with a W&B server and a project of their own; a test module takes them in with

pytest_plugins = ["tests.wandb_server.fixture"]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

from .server import WandbServer

QUICK_AGENT = """
import sys
if "agent" in sys.orig_argv:
    from wandb.wandb_agent import Agent
    Agent.POLL_INTERVAL = 0.5
"""


class Online:
    """Commands in a copy of the project, with the loopback server as their W&B."""

    def __init__(self, project: Path, server: WandbServer) -> None:
        self.project, self.server = project, server
        self.env = os.environ | server.env(project / "caches") | {"OMP_NUM_THREADS": "1"}

    def start(self, *command: object, **env: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=self.project, env=self.env | env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *command: object, **env: str) -> subprocess.CompletedProcess:
        process = self.start(*command, **env)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def sweep(self, *args: object) -> subprocess.CompletedProcess:
        return self("train.py", "sweep", *args)

    def losses(self) -> dict[float, float]:
        """The last val/l1 of each finished run, by its learning rate."""
        return {
            run.config["lr"]: run.summary["val/l1"]["last"]
            for run in self.server.runs
            if run.state == "finished"
        }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project: W&B's agents run ``train.py`` where it lies, and ask without pause."""
    unwanted = shutil.ignore_patterns(".*", "runs", "studies", "wandb", "tests", "docs", "results")
    copy = Path(shutil.copytree(ROOT, tmp_path / "project", ignore=unwanted))
    (copy / "sitecustomize.py").write_text(QUICK_AGENT)
    return copy


@pytest.fixture
def online(project: Path) -> Iterator[Online]:
    """A fresh W&B server and a copy of the project for one test."""
    with WandbServer() as server:
        yield Online(project, server)
