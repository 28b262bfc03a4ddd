"""The loopback W&B server, tried with the real clients in processes of their own.

Resumes, syncs, faults and reports are tried through this project's commands, in test_resume_wandb,
test_tracking_sync, test_tracker_faults and test_report_online.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wandb_server import WandbServer, quick_agent
from tests.wandb_server.grid import GridError, grid_points

pytestmark = pytest.mark.slow

pytest_plugins = ["tests.wandb_server.fixture"]

WANDB = (sys.executable, "-m", "wandb")


def start(server: WandbServer, folder: Path, *command: str, **env: str) -> subprocess.Popen:
    """The command at work in `folder`, with the server as its W&B."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **server.env(folder), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    """What the process printed, once it has ended well."""
    try:
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    return printed


def python(server: WandbServer, folder: Path, script: str, **env: str) -> str:
    return finish(start(server, folder, sys.executable, "-c", script, **env))


LOG_EVERYTHING = """
import numpy as np, wandb
run = wandb.init(project="nets", name="first", group="g", job_type="train", tags=["a"],
                 id="first", config={"lr": 0.1, "ks": "3:9"})
print("hello console")
for step in range(20):
    run.log({"val/l1": 1 / (step + 1), "images_seen": 32 * step})
grey = np.full((8, 8), 100, dtype=np.uint8)
run.log({"grid": wandb.Image(grey),
         "table": wandb.Table(columns=["index", "image"], data=[[0, wandb.Image(grey)]])})
model = wandb.Artifact("model", type="model", metadata={"epoch": 3})
with model.new_file("weights.txt") as file:
    file.write("0.5")
run.log_artifact(model, aliases=["best"])
run.summary["best"] = 0.05
run.finish()
"""

READ_BACK = """
import json, wandb
api = wandb.Api()
(run,) = api.runs("tester/nets", filters={"config.lr": 0.1}, order="-summary_metrics.best")
same = api.run("tester/nets/first")
api.artifact("tester/nets/model:best").download(root="model")
table = api.artifact("tester/nets/run-first-table:latest").get("table")
print(json.dumps({
    "name": run.name, "state": run.state, "config": run.config, "best": same.summary["best"],
    "sampled": len(run.history(keys=["val/l1"], pandas=False)),
    "scanned": [row["_step"] for row in same.scan_history()],
    "files": [file.name for file in same.files()],
    "artifacts": [artifact.name for artifact in same.logged_artifacts()],
    "weights": open("model/weights.txt").read(), "cell": table.data[0][1].image.getpixel((3, 3)),
}))
"""


def test_an_online_run_arrives_whole_and_the_public_api_reads_it_back(
    wandb_server: WandbServer, tmp_path: Path
) -> None:
    python(wandb_server, tmp_path, LOG_EVERYTHING)
    run = wandb_server.run("first")
    assert (run.name, run.group, run.job_type, run.tags) == ("first", "g", "train", ["a"])
    assert (run.state, run.exit_code) == ("finished", 0)
    assert run.config == {"lr": 0.1, "ks": "3:9"}
    assert [row["_step"] for row in run.rows] == list(range(21))
    assert [row["val/l1"] for row in run.history[:20]] == [1 / (step + 1) for step in range(20)]
    assert run.summary["best"] == 0.05 and run.summary["images_seen"] == 608
    assert run.files[run.summary["grid"]["path"]].startswith(b"\x89PNG")
    assert "hello console" in run.logs[0]
    table, model = sorted(wandb_server.artifacts, key=lambda artifact: -len(artifact.files))
    assert model.files == {"weights.txt": b"0.5"}
    assert (sorted(model.aliases), model.metadata) == (["best", "latest"], {"epoch": 3})
    assert json.loads(table.files["table.table.json"])["columns"] == ["index", "image"]

    found = json.loads(python(wandb_server, tmp_path, READ_BACK).splitlines()[-1])
    assert found.pop("files") == sorted(run.files)
    assert sorted(found.pop("artifacts")) == ["model:v0", "run-first-table:v0"]
    assert found == {
        "name": "first",
        "state": "finished",
        "config": {"lr": 0.1, "ks": "3:9"},
        "best": 0.05,
        "sampled": 20,
        "scanned": list(range(21)),
        "weights": "0.5",
        "cell": 100,
    }
    assert not wandb_server.unknown_calls


def test_a_grid_is_expanded_in_the_order_of_the_service() -> None:
    parameters = {
        "size": {"values": [2, 1, 2]},
        "lr": {"value": 0.1},
        "opt": {"parameters": {"wd": {"values": [0.5, None]}}},
        "flip": {"values": [True, 1]},
    }
    points = grid_points({"method": "grid", "run_cap": 3, "parameters": parameters})
    assert points == [
        {"flip": True, "lr": 0.1, "opt": {"wd": 0.5}, "size": 2},
        {"flip": True, "lr": 0.1, "opt": {"wd": 0.5}, "size": 1},
        {"flip": True, "lr": 0.1, "opt": {"wd": None}, "size": 2},
    ]
    for endless in ({"min": 0.0, "max": 1.0}, {"distribution": "normal"}):
        with pytest.raises(GridError, match="no finite grid"):
            grid_points({"method": "grid", "parameters": {"lr": endless}})


SWEEP = """
program: train.py
method: grid
name: which width
metric: {name: loss, goal: minimize}
parameters:
  ks: {values: ["3:9", "5", "3:9"]}
  ch: {values: [8, 16]}
command: ["${env}", "PYTHON", "${program}", "${args}"]
"""

SWEEP_PROGRAM = """
import os, sys, wandb
with open("commands", "a") as file:
    file.write(" ".join(sys.argv[1:]) + chr(10))
run = wandb.init(resume="allow")
for step in range(run.starting_step, 3):
    run.log({"loss": step * run.config["ch"]}, step=step)
    if (run.config["ch"], run.config["ks"], run.starting_step) == (16, "5", 0):
        run.mark_preempting()
        run.finish(exit_code=1)
        sys.exit(1)
"""


def test_two_agents_share_a_grid_and_a_preempted_point_is_handed_out_again(
    wandb_server: WandbServer, tmp_path: Path
) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("PYTHON", sys.executable))
    (tmp_path / "train.py").write_text(SWEEP_PROGRAM)
    finish(start(wandb_server, tmp_path, *WANDB, "sweep", "--project", "nets", "sweep.yaml"))
    (sweep,) = wandb_server.sweeps
    agents = [start(wandb_server, tmp_path, *quick_agent(sweep.path)) for _ in range(2)]
    for agent in agents:
        finish(agent)

    points = [(ch, ks) for ch in (8, 16) for ks in ("3:9", "5")]
    assert sweep.state == "FINISHED"
    assert [(run.config["ch"], run.config["ks"]) for run in wandb_server.runs] == points
    for run in wandb_server.runs:
        assert (run.state, run.exit_code, run.sweep) == ("finished", 0, sweep.id)
        assert [(row["_step"], row["loss"]) for row in run.rows] == [
            (step, step * run.config["ch"]) for step in range(3)
        ]
    commands = [f"--ch={ch} --ks={ks}" for ch, ks in points]
    given = (tmp_path / "commands").read_text().splitlines()
    assert sorted(given) == sorted([*commands, "--ch=16 --ks=5"])
    assert not wandb_server.unknown_calls
