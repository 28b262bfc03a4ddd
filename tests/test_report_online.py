"""``compare`` and ``report`` on a W&B server: real runs, the real clients, a loopback server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from wandb.errors import CommError

from common.errors import InputError
from tests.conftest import IN_ONE_PROCESS, ROOT, Outcome, outcomes
from tests.wandb_server import WandbServer
from tracking import api
from tracking.api import WandbRun, translate_errors

pytestmark = pytest.mark.slow

TRAIN = """
import os, sys, wandb
from experiment.run import run
from experiment.settings import Settings

def train(runs_dir, layers, seed, **extra):
    settings = Settings.parse("resconv", {
        "data": "garments", "train_images": 64, "val_images": 40, "images": 192, "ch": 4,
        "epochs": 3, "layers": layers, "seed": seed, "device": "cpu", "runs_dir": runs_dir,
    })
    run(settings, observer=lambda row: None, extra_config=extra)

here, elsewhere = sys.argv[1:]
offline = {"name": "layers-32-images-64", "file": "layers-32.yaml", "point": "0"}
for layers, seed in ((1, 0), (1, 1), (2, 0)):
    train(here, layers, seed, sweep=offline)
grid = {"method": "grid", "name": "by agents", "parameters": {"layers": {"values": [1]}}}
os.environ["WANDB_SWEEP_ID"] = wandb.sweep(grid, project="convtune")
wandb.teardown()  # the environment is read again, as in an agent's process
train(elsewhere, 1, 0)
"""


class Online:
    """A server with three runs, their folders, and the command line against it."""

    def __init__(self, server: WandbServer, folder: Path) -> None:
        self.server, self.folder, self.runs = server, folder, folder / "runs"
        self.python(TRAIN, str(self.runs), str(folder / "elsewhere"))

    def python(self, code: str, *arguments: str, **variables: str) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
        env = kept | self.server.env(self.folder) | {"OMP_NUM_THREADS": "1"} | variables
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, env=env, capture_output=True,
            text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def commands(self, *commands: tuple[object, ...], **variables: str) -> list[Outcome]:
        """Exit code, stdout and stderr of each command, all in one process."""
        words = json.dumps([[str(word) for word in command] for command in commands])
        return outcomes(self.python(IN_ONE_PROCESS, words, **variables))


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Online]:
    with WandbServer() as server:
        yield Online(server, tmp_path_factory.mktemp("online"))
        assert not server.unknown_calls


def rows(outcome: tuple) -> list[dict]:
    """The rows of the first table, that of the offline sweep."""
    code, out, err = outcome
    assert code == 0, err
    table = json.loads(out)[0]
    assert table["sweep"] == "layers-32-images-64"
    assert table["question"].startswith("Question: ")
    return table["rows"]


def test_the_server_gives_the_same_table_and_pictures_as_the_run_folders(online: Online) -> None:
    run = next(run for run in online.server.runs if run.config["layers"] == 2)
    address = f"{online.server.url}/tester/convtune/runs/{run.id}"
    one, two = online.folder / "one", online.folder / "two"
    forms = [("--format", "json", "--images", to, "--plots", to) for to in (one, two)]
    sweep = online.server.sweeps[0].id
    here, there, single, agents = online.commands(
        ("compare", online.runs, *forms[0]),
        ("compare", "tester/convtune", *forms[1]),
        ("compare", address, "--format", "json"),
        ("compare", f"tester/convtune/{sweep}", "--format", "json"),
    )
    assert agents[0] == 0, agents
    (table,) = json.loads(agents[1])
    assert table["sweep"] == "by agents"
    assert [row["run_ids"] for row in table["rows"]] == [[online.server.runs[-1].id]]
    assert rows(here) == rows(there)
    assert sorted((row["layers"], row["runs"]) for row in rows(here)) == [(1, 2), (2, 1)]
    assert [row["run_ids"] for row in rows(single)] == [[run.id]]
    drawn, again = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in (one, two))
    assert drawn.items() <= again.items()
    assert {
        f"layers-32-images-64{kind}.png" for kind in ("", "-curves", "-parameters")
    } <= drawn.keys()


def test_report_is_made_then_updated_and_its_run_is_no_result(online: Online) -> None:
    trained = {run.id for run in online.server.runs}
    compared_ids = [run.id for run in online.server.runs if not run.sweep]
    trained_here = [f"tester/convtune/{run_id}" for run_id in compared_ids]
    offline = {"WANDB_MODE": "offline"}  # for training; a report is online by its nature
    first, again, saved, resaved, compared = online.commands(
        ("report", *trained_here),
        ("report", online.runs, "--share"),
        ("report", *trained_here, "--workspace"),
        ("report", *trained_here, "--workspace"),
        ("compare", "tester/convtune", "--format", "json"),
        **offline,
    )
    assert first[0] == again[0] == 0, (first, again)
    report, workspace = online.server.reports
    assert saved[0] == resaved[0] == 0, (saved, resaved)
    assert saved[1].startswith("Created http") and resaved[1].startswith("Updated http")
    assert (workspace.type, workspace.title) == (
        "project-view", "Comparison of layers-32-images-64",
    )  # fmt: skip
    assert "demo/7" in json.dumps(workspace.spec)
    assert first[0] == 0 and first[1].startswith("Created http") and "--share" in first[1]
    assert again[0] == 0 and again[1].startswith("Updated http")
    assert report.id in first[1] and report.id in again[1]
    assert f"accessToken={report.share_token}" in again[1] and report.share_token
    assert report.title == "Comparison of layers-32-images-64"
    assert report.description.startswith("Question: ")
    spec = json.dumps(report.spec)
    assert all(run_id in spec for run_id in compared_ids)
    assert "python train.py resconv --layers=" in spec and "| # | layers | seeds |" in spec
    grids = [block for block in report.spec["blocks"] if block["type"] == "panel-grid"]
    panels = [
        panel for grid in grids for panel in grid["metadata"]["panelBankSectionConfig"]["panels"]
    ]
    kinds = [panel["viewType"] for panel in panels]
    assert kinds == [
        *["Run History Line Plot"] * 2, *["Scatter Plot"] * 4, "Parallel Coordinates Plot",
        "Parameter Importance", *["Run History Line Plot"] * 3, "Media Browser", "Weave",
    ]  # fmt: skip
    media = next(panel["config"] for panel in panels if panel["viewType"] == "Media Browser")
    assert (media["mediaKeys"], media["gridSettings"]["yAxis"]) == (["demo"], "run")
    made = [run for run in online.server.runs if run.id not in trained]
    assert [(run.job_type, run.state) for run in made] == [("report", "finished")] * 2
    assert all("comparison-layers-32-images-64" in run.summary for run in made)
    assert len(rows(compared)) == 2


def test_wrong_paths_and_keys_are_one_line(online: Online) -> None:
    wrong = {
        "tester/nothing": "not found",
        "nobody/convtune": "not found",
        "tester/convtune/abcdefgh": "not found",
        "abcdefgh": "set WANDB_ENTITY and WANDB_PROJECT",
    }
    outcomes = online.commands(*(("compare", source) for source in wrong))
    for (source, said), (code, out, err) in zip(wrong.items(), outcomes, strict=True):
        assert (code, out) == (2, "") and err.startswith(f"Error: {source}: ")
        assert said in err and err.count("\n") == 1
    with online.server.fault(status=403, path="graphql"):
        ((code, out, err),) = online.commands(("compare", "tester/convtune"))
    assert code == 2 and "does not accept this W&B API key" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("HTTP 403: permission denied to access me/exp-403", "no permission to read it"),
        ("Could not find project me/exp-403", "not found on the W&B server"),
        ("502 Bad\nGateway", "could not be asked (502 Bad Gateway)"),
    ],
)
def test_errors_of_the_client_are_explained(text: str, said: str) -> None:
    with pytest.raises(InputError) as error, translate_errors("me/exp-403"):
        raise CommError(text)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_pictures_unavailable_from_the_server_are_an_error() -> None:
    def failing(error: Exception) -> WandbRun:
        def artifact(name: str) -> None:
            raise error

        client = SimpleNamespace(artifact=artifact)
        record: dict[str, Any] = {f.name: None for f in fields(WandbRun)}
        return WandbRun(**record | {"id": "abc", "project": "me/p", "client": client})

    assert failing(CommError("artifact membership 'x' not found in 'me/p'")).examples() == []
    for error in (CommError("HTTP 503"), requests.ConnectionError("no route")):
        with pytest.raises(InputError, match="could not be asked"):
            failing(error).examples()


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("me/my project/abc", ["me", "my project", "abc"]),
        ("https://wandb.ai/me/my%20project/runs/abc?nw=1", ["me", "my project", "abc"]),
        ("https://wandb.ai/me/runs/workspace", ["me", "runs"]),
        ("me/sweeps/abc", ["me", "sweeps", "abc"]),
    ],
)
def test_a_path_names_any_project_that_may_be_trained_into(source: str, parts: list[str]) -> None:
    assert api._path_parts(source) == parts
