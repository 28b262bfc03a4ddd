"""Every sweep file of the project runs under W&B's own commands, shortened to tiny budgets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "data": "garments", "train_images": 64, "val_images": 40, "images": 64, "batch_size": 32,
    "device": "cpu",
}  # fmt: skip
AGENTS = 2  # processes that share the files
pytest_plugins = ["tests.wandb_server.fixture"]
pytestmark = pytest.mark.slow

# `wandb sweep FILE` or `wandb agent --count 1 SWEEP` for each argument. In one process, because
# W&B's commands take seconds to import; polling twice a second instead of every five seconds.
COMMANDS = """
import sys
from wandb.cli.cli import cli
from wandb.wandb_agent import Agent
Agent.POLL_INTERVAL = 0.5
for argument in sys.argv[2:]:
    cli([*sys.argv[1].split(), argument], standalone_mode=False)
"""


def shorten(file: Path) -> dict:
    """Give the sweep file a budget of two batches a run; all else stays. Returns its content."""
    config = yaml.safe_load(file.read_text())
    config["parameters"].pop("epochs", None)
    config["parameters"] |= {name: {"value": value} for name, value in TINY.items()}
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return config


def start(project: Path, server, command: str, *arguments: str) -> subprocess.Popen:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for the agents
    env = os.environ | server.env(project / "caches") | {"OMP_NUM_THREADS": "1", "PATH": path}
    return subprocess.Popen(
        [sys.executable, "-c", COMMANDS, command, *arguments], cwd=project, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_the_first_point_of_every_sweep_file_is_trained_by_wandb_agent(wandb_server, tmp_path):
    unwanted = shutil.ignore_patterns(".*", "runs", "studies", "wandb", "tests", "docs", "results")
    project = Path(shutil.copytree(ROOT, tmp_path / "project", ignore=unwanted))
    files = sorted((project / "sweep_configs").glob("*.yaml"))
    configs = {file.stem: shorten(file) for file in files}
    assert len(configs) >= 17
    made = start(project, wandb_server, "sweep", *map(str, files))
    assert made.wait(120) == 0, made.stdout.read()
    assert [sweep.config["name"] for sweep in wandb_server.sweeps] == list(configs)

    paths = [sweep.path for sweep in wandb_server.sweeps]
    agents = [
        start(project, wandb_server, "agent --count 1", *paths[number::AGENTS])
        for number in range(AGENTS)
    ]
    output = [agent.communicate(timeout=600)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0] * AGENTS, output
    by_sweep = {run.sweep: run for run in wandb_server.runs}
    assert len(by_sweep) == len(wandb_server.runs) == len(configs), output
    for sweep in wandb_server.sweeps:
        run, config = by_sweep[sweep.id], configs[sweep.config["name"]]
        assert run.state == "finished", (sweep.config["name"], output)
        assert config["metric"]["name"] in run.summary, sweep.config["name"]
        for name, spec in config["parameters"].items():
            assert run.config[name] in spec.get("values", [spec.get("value")]), name
    assert not wandb_server.unknown_calls
