"""The online engine with W&B's own agents, against the loopback server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.small_sweeps import ONE_POINT, alive, children, wait_until

pytestmark = pytest.mark.slow

pytest_plugins = ["tests.wandb_server.fixture"]
THREE = ONE_POINT + "  lr: {values: [0.001, 0.002, 1.0e+30]}\n"


def offline_losses(project: Path) -> dict[float, float]:
    found = {}
    for file in (project / "offline").glob("*/summary.json"):
        summary = json.loads(file.read_text())
        config = yaml.safe_load((file.parent / "config.yaml").read_text())
        if summary["state"] == "finished":
            found[config["lr"]] = summary["last"]["val/l1"]
    return found


def test_online_and_offline_run_the_same_points_with_the_same_losses(online, project):
    (project / "mini.yaml").write_text(THREE)
    first = online.sweep("mini.yaml", "--jobs", 2)
    assert first.returncode == 1, first
    assert "3 points: 2 done, 0 running, 1 failed, 0 missing" in first.stdout
    assert re.search(r"failed: lr=1e\+30: .*NaN", first.stdout)
    (sweep,) = online.server.sweeps
    assert [run.sweep for run in online.server.runs] == [sweep.id] * 3
    assert {run.config["lr"] for run in online.server.runs} == {0.001, 0.002, 1e30}

    assert online.sweep("mini.yaml", "--status").stdout.count("done") >= 2
    ids = {run.id for run in online.server.runs}
    again = online.sweep("mini.yaml", "--jobs", 2, "--retry-failed")
    assert again.returncode == 1 and "2 of 3 points done" in again.stdout
    assert again.stdout.count("failed: lr") == 2, "its new failure, and the list at the end"
    assert {run.id for run in online.server.runs} == ids and len(online.server.sweeps) == 1

    args = ("mini.yaml", "--mode", "offline", "--runs-dir", "offline")
    assert online.sweep(*args).returncode == 1
    assert online.losses() == offline_losses(project) and len(online.losses()) == 2


def test_a_killed_sweep_leaves_no_agent_to_take_more_points(online, project):
    (project / "mini.yaml").write_text(THREE.replace(", 1.0e+30", ""))
    sweep = online.start("train.py", "sweep", "mini.yaml")
    wait_until(lambda: list((project / "runs").glob("*/config.yaml")))  # the agent has begun it
    words = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(sweep.pid)}
    sweep.kill()
    sweep.communicate()
    [agent] = [pid for pid, line in words.items() if b"wandb\0agent\0" in line]
    wait_until(lambda: not alive(agent))
    assert [run.state for run in online.server.runs] == ["finished"]
    assert online.sweep("mini.yaml").returncode == 0
    assert sorted(online.losses()) == [0.001, 0.002] and len(online.server.runs) == 2


def test_join_runs_agents_for_a_sweep_made_by_wandb_sweep(online, project):
    (project / "mini.yaml").write_text(THREE.replace("[0.001, 0.002, 1.0e+30]", "[0.001]"))
    made = online("-m", "wandb", "sweep", "--project", "joined", "mini.yaml")
    assert made.returncode == 0, made
    (sweep,) = online.server.sweeps
    joined = online.sweep("--join", sweep.path)
    assert joined.returncode == 0, joined
    assert "1 points: 1 done" in joined.stdout and set(online.losses()) == {0.001}
    assert not (project / "studies" / "mini.wandb").exists()


def test_a_missing_sweep_is_reported_in_one_line(online, project):
    (project / "mini.yaml").write_text(THREE)
    for args in (["--join", "tester/convtune/nothing"], ["mini.yaml", "--join", "x"]):
        outcome = online.sweep(*args)
        assert outcome.returncode == 2, outcome
        assert f"Error: --join {args[-1]}: no such sweep" in outcome.stderr
    assert not online.server.sweeps and not online.server.runs
    (project / "wrong.yaml").write_text(THREE.replace("garments", "mnist"))
    wrong = online.sweep("wrong.yaml")
    assert wrong.returncode == 2 and "wrong.yaml: --data 'mnist' is not a folder" in wrong.stderr
    assert not online.server.sweeps
    status = online.sweep("mini.yaml", "--status")
    assert status.returncode == 2 and "has not been started" in status.stderr
