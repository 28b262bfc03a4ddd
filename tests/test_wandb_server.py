"""The loopback W&B server, tried with the real clients in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.wandb_server import WandbServer

pytest_plugins = ["tests.wandb_server.fixture"]


def python(server: WandbServer, folder: Path, script: str, **env: str) -> str:
    """What `script` prints, run by a fresh interpreter in `folder` with the server as its W&B."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, **server.env(folder), **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    assert (model.aliases, model.metadata) == (["best", "latest"], {"epoch": 3})
    assert json.loads(table.files["table.table.json"])["columns"] == ["index", "image"]

    found = json.loads(python(wandb_server, tmp_path, READ_BACK))
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
