"""What the user told W&B is obeyed; only options given to our commands overrule."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import wandb
import yaml
from PIL import Image

from tests.conftest import ROOT, TINY, run_folder
from tests.small_sweeps import SHORT, write
from tests.test_docs import LEVELS, imports_of
from tracking import server as wandb_server
from tracking.folder import read_summary
from tracking.record import read_run_folder
from tracking.server import choose_connection
from tracking.values import artifact_name, data_files

KEY = 40 * "a"


def settings_file(where: str, **values: str) -> None:
    """What ``wandb offline``, ``wandb init -p`` and so on write."""
    paths = {"here": Path("wandb/settings"), "home": Path.home() / ".config/wandb/settings"}
    paths[where].parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {value}" for name, value in values.items()]
    paths[where].write_text("\n".join(["[default]", *lines]) + "\n")
    wandb.teardown()  # W&B reads its files once a process


@pytest.mark.parametrize("where", ["here", "home"])
@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_a_mode_in_wandbs_files_is_obeyed_and_an_option_overrules_it(monkeypatch, where, mode):
    monkeypatch.setattr(wandb_server, "answers", lambda host: True)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert choose_connection().mode == "online"
    settings_file(where, mode=mode)
    found = choose_connection()
    assert (found.mode, found.reason, "mode" in dict(found.arguments)) == (mode, None, False)
    assert choose_connection("online").mode == "online"
    monkeypatch.setenv("WANDB_MODE", "online")
    wandb.teardown()
    assert choose_connection().mode == "online", "W&B's variables go before its files"


def test_wandb_init_gets_only_what_wandb_cannot_resolve_itself(monkeypatch):
    monkeypatch.setattr(wandb_server, "answers", lambda host: True)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    wandb.teardown()
    assert dict(choose_connection().arguments) == {"project": "convtune"}
    settings_file("here", project="theirs", entity="team")
    found = choose_connection()
    assert (found.project, found.entity, found.arguments) == ("theirs", "team", {})
    assert dict(choose_connection(project="ours").arguments) == {"project": "ours"}
    monkeypatch.delenv("WANDB_API_KEY")
    wandb.teardown()
    found = choose_connection()
    assert found.reason and dict(found.arguments) == {"mode": "offline"}


def test_runs_and_sweeps_stay_offline_when_configured_offline(server, cli, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    settings_file("here", mode="offline")
    outcome = cli("resconv", *TINY)
    assert outcome.code == 0
    assert list(run_folder(outcome).glob("wandb/offline-run-*/*.wandb"))
    settings_file("here", mode="disabled")
    assert cli("sweep", write(SHORT), "--runs-dir", "swept").code == 0
    assert server.runs == [] and server.sweeps == []
    assert not list(Path("swept").glob("*/wandb")), "disabled in W&B's settings"
    settings_file("here", project="theirs")
    assert cli("resconv", *TINY).code == 0
    assert [run.project for run in server.runs] == ["theirs"]


def test_wandbs_identity_variables_keep_their_meaning_within_the_limits(server, cli, monkeypatch):
    for name, value in {"TAGS": "a,b", "NAME": 150 * "n", "NOTES": "why", "RUN_GROUP": "g"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    images = Path(70 * "d")
    for name in ("cat", "dog"):
        (images / name).mkdir(parents=True)
        for number in range(60):
            Image.new("L", (12, 12), number * 4).save(images / name / f"{number}.png")
    options = ["--data", images, "--size", 12, "--layers", 2, "--ch", 4, "--epochs", 1,
               "--batch-size", 32, "--device", "cpu"]  # fmt: skip
    outcome = cli("resconv", *options)
    assert outcome.code == 0 and "did not take" not in outcome.out, outcome
    [run] = server.runs
    assert (run.name, run.notes, run.group) == (128 * "n", "why", "g")
    assert run.tags[:2] == ["a", "b"] and all(1 <= len(tag) <= 64 for tag in run.tags)
    assert run_folder(outcome).name.startswith(100 * "n")
    assert all(len(artifact.name) <= 128 for artifact in server.artifacts)
    model = next(artifact for artifact in server.artifacts if artifact.type == "model")
    last = run_folder(outcome) / "checkpoints" / "last.pt"
    assert model.files == {"last.pt": last.read_bytes()}
    assert sorted(model.aliases) == ["best", "latest"]
    fixed = [run.summary[f"demo/{number}"]["_type"] for number in range(8)]
    assert fixed == 8 * ["image-file"] and "demo/8" not in run.summary
    assert run.summary["demo"]["count"] > 8
    assert run.config["started_at"] < run.summary["ended_at"]


@pytest.mark.parametrize("readable", [True, False])
def test_wandb_dir_expands_a_tilde_and_is_reported_if_unusable(cli, monkeypatch, readable):
    (Path.home() / "file").touch()
    monkeypatch.setenv("WANDB_DIR", "~/own" if readable else "~/file/own")
    outcome = cli("resconv", *TINY, "--mode", "offline")
    assert outcome.code == 0
    folder = Path.home() / "own" if readable else run_folder(outcome)
    [part] = folder.glob("wandb/offline-run-*/*.wandb")
    noted = read_summary(run_folder(outcome))["wandb"]["folder"]
    assert noted == str(part.parent.resolve())  # sync finds it from any folder
    assert ("WANDB_DIR=~/file/own cannot be written (Not a directory)" in outcome.out) != readable
    assert not Path("~").exists()


def test_an_id_given_twice_is_refused_with_its_cause(cli, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "exported")
    assert cli("resconv", *TINY, "--mode", "disabled").code == 0
    for options in ([], ["--layers", 3]):
        outcome = cli("resconv", *TINY, *options, "--mode", "disabled")
        assert outcome.code == 2
        assert "WANDB_RUN_ID=exported" in outcome.err and "has this id already" in outcome.err
    assert len(list(Path("runs").iterdir())) == 1
    for other in ("second-run", "run"):  # different ids with the same ending
        monkeypatch.setenv("WANDB_RUN_ID", other)
        assert cli("resconv", *TINY, "--mode", "disabled").code == 0
    next(Path("runs").glob("*-second-run/config.yaml")).write_text("{")  # damaged
    monkeypatch.setenv("WANDB_RUN_ID", "second-run")
    assert "has this id already" in cli("resconv", *TINY, "--mode", "disabled").err


def test_an_id_given_twice_replaces_no_history_on_the_server(server, cli, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "exported")
    monkeypatch.setenv("WANDB_DISABLE_CODE", "true")
    assert cli("resconv", *TINY).code == 0
    [run] = server.runs
    rows = list(run.rows)
    outcome = cli("resconv", *TINY, "--runs-dir", "other")
    assert outcome.code == 0 and "did not take the run" in outcome.out, outcome
    assert server.runs == [run] and run.rows == rows
    assert not [a for a in server.artifacts if a.type == "code"], "the user forbade it"


def test_the_data_artifact_refers_to_the_files_whatever_is_remarked(tmp_path):
    assert data_files({"source": str(tmp_path)}) == tmp_path
    remark = f"{tmp_path} (2 grey images repeated as RGB beside 3 in colour)"  # as 73bab81 wrote it
    assert data_files({"source": remark}) == tmp_path
    assert data_files({"source": "drawn with seed 0"}) is None
    name = artifact_name("data-folder/" + 200 * "é")
    assert len(name) == 128 and name.startswith("data-folder--")


def test_start_and_end_are_recorded_and_order_runs_that_were_copied(cli):
    older, newer = (run_folder(cli("resconv", *TINY, "--mode", "disabled")) for _ in range(2))
    os.utime(older / "summary.json", (4e9, 4e9))
    config = yaml.safe_load((older / "config.yaml").read_text())
    summary = json.loads((older / "summary.json").read_text())
    assert config["started_at"] == summary["started_at"] < summary["ended_at"]
    records = [read_run_folder(folder) for folder in (newer, older)]
    assert [r.order for r in records] == sorted((r.order for r in records), reverse=True)


def test_a_run_is_tracked_offline_without_a_home_folder(cli, monkeypatch):
    def no_account(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", no_account)
    outcome = cli("resconv", *TINY)
    assert outcome.code == 0, outcome
    assert list(run_folder(outcome).glob("wandb/offline-run-*/*.wandb"))


def test_warnings_of_wandb_reach_the_user_and_its_notes_do_not(capfd):
    wandb_server.wandb_settings()
    wandb.termlog("a note")
    wandb.termwarn("something about the data")
    err = capfd.readouterr().err
    assert "something about the data" in err and "a note" not in err


def test_tracking_alone_imports_wandb():
    files = [file for package in LEVELS for file in (ROOT / package).rglob("*.py")]
    users = {file.relative_to(ROOT).parts[0] for file in files if "wandb" in imports_of(file)}
    assert users == {"tracking"}
