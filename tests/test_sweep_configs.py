"""Every sweep file of the project trains, shortened to a tiny budget; W&B's agent runs them too."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from experiment.run import run
from sweeps.sweep_file import read_sweep
from tests.conftest import ROOT

TINY = {
    "data": "garments", "train_images": 64, "val_images": 40, "images": 64, "batch_size": 32,
    "device": "cpu",
}  # fmt: skip
FILES = sorted((ROOT / "sweep_configs").glob("*.yaml"))
pytest_plugins = ["tests.wandb_server.fixture"]
pytestmark = pytest.mark.slow


def shorten(file: Path) -> dict:
    """Give the sweep file a budget of two batches a run; all else stays. Returns its content."""
    config = yaml.safe_load(file.read_text())
    tiny = TINY | ({"holdout": 40} if "holdout" in config["parameters"] else {})
    config["parameters"] |= {name: {"value": value} for name, value in tiny.items()}
    config["parameters"].pop("epochs", None)
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return config


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_first_point_of_every_sweep_file_trains(file, tmp_path):
    copy = Path(shutil.copy(file, tmp_path))
    shorten(copy)
    sweep = read_sweep(copy)
    settings = sweep.settings(sweep.rows()[0] | {"mode": "disabled"})
    result = run(settings, observer=lambda row: None)
    assert result.state == "finished"
    assert sweep.metric in result.summary["last"]


def test_wandb_agent_trains_a_sweep_of_one_command_and_one_of_several(online, project):
    files = [project / "sweep_configs" / f"{name}.yaml" for name in ("smoke", "restoration-rates")]
    configs = [shorten(file) for file in files]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for the agents
    for file in files:
        assert online("-m", "wandb", "sweep", file).returncode == 0
        sweep = online.server.sweeps[-1].path
        agent = online("-m", "wandb", "agent", "--count", 1, sweep, PATH=path)
        assert agent.returncode == 0, agent
    assert [run.state for run in online.server.runs] == ["finished", "finished"]
    for sweep, config in zip(online.server.sweeps, configs, strict=True):
        assert sweep.config["name"] == config["name"]
        run = next(run for run in online.server.runs if run.sweep == sweep.id)
        assert config["metric"]["name"] in run.summary
        for name, spec in config["parameters"].items():
            assert run.config[name] in spec.get("values", [spec.get("value")]), name
    assert not online.server.unknown_calls
