"""One identity online: a known sweep is continued, added to, and never trained again unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.small_sweeps import SHORT

pytest_plugins = ["tests.wandb_server.fixture"]
pytestmark = pytest.mark.slow


def test_a_known_sweep_is_continued_and_extended_but_restarted_only_with_new(online, project):
    file = project / "mini.yaml"
    file.write_text(SHORT + "  lr: {values: [0.001]}\n")
    assert online.sweep("mini.yaml", "--tags", "first").returncode == 0
    (sweep,) = online.server.sweeps
    (run,) = online.server.runs
    assert "first" in run.tags
    config = yaml.safe_load(next((project / "runs").glob("*/config.yaml")).read_text())
    assert (config["sweep"]["name"], config["sweep"]["file"]) == ("mini", "mini.yaml")
    compared = online("train.py", "compare", "mini.yaml", "--format", "json")
    assert compared.returncode == 0 and len(json.loads(compared.stdout)) == 1, compared

    for fault in ({"status": 503}, {"status": 403, "path": "graphql"}):
        with online.server.fault(**fault):
            outcome = online.sweep("mini.yaml", "--jobs", 1)
        assert outcome.returncode == 2 and outcome.stderr.count("\n") == 1, (fault, outcome)
    assert len(online.server.sweeps) == len(online.server.runs) == 1
    assert len(list((project / "runs").iterdir())) == 1, "no local copy was trained"

    file.write_text(SHORT + "  lr: {values: [0.001, 0.002]}\n")
    added = online.sweep("mini.yaml")
    assert added.returncode == 0 and "2 points: 2 done" in added.stdout, added
    assert "1 points are not in the server's sweep" in added.stdout
    file.write_text(SHORT + "  lr: {values: [0.001]}\n")
    seeded = online.sweep("mini.yaml", "--seeds", 2)
    assert seeded.returncode == 0 and "2 points: 2 done" in seeded.stdout, seeded
    runs = online.server.runs
    assert {run.sweep for run in runs} == {sweep.id} and len(online.server.sweeps) == 1
    assert sorted((r.config["lr"], r.config["seed"]) for r in runs) == [
        (0.001, 0), (0.001, 1), (0.002, 0),
    ]  # fmt: skip

    online.server.store.sweeps.clear()
    gone = online.sweep("mini.yaml")
    assert gone.returncode == 2 and "no longer on the server; --new" in gone.stderr, gone
    shutil.rmtree(project / "runs")
    assert online.sweep("mini.yaml", "--new").returncode == 0
    assert len(online.server.sweeps) == 1 and len(list(Path(project / "runs").iterdir())) == 1
