"""The W&B run of a resumed run: one history, without a gap or a doubled step."""

from __future__ import annotations

import csv
import errno
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from experiment.recorder import Recorder
from tests.conftest import ROOT, summary_of
from tests.cut import only_run, run_in_child
from tests.test_resume import RESCONV
from tests.wandb_server import WandbServer

pytestmark = pytest.mark.slow

KEYS = ("images_seen", "epoch", "train/l1", "train/lr", "val/l1", "val/psnr")


def assert_one_history(server: WandbServer, folder: Path) -> None:
    """W&B has exactly the rows of metrics.csv, in order, after the params table at step 0."""
    run = server.run(folder.name[-8:])
    assert (run.state, run.exit_code) == ("finished", 0)
    first, *history = run.rows
    assert (first["_step"], first["params"]["_type"]) == (0, "table-file")
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["_step"] for row in history] == [int(row["step"]) for row in rows]
    for found, row in zip(history, rows, strict=True):
        assert {k: found[k] for k in KEYS if k in found} == {
            k: float(row[k]) for k in KEYS if row[k]
        }
    # W&B's summary of the demo set: the pictures came along.
    assert run.summary["demo"]["count"] == 20


def test_online_the_history_continues_at_the_servers_last_step(tmp_path, monkeypatch):
    with WandbServer() as server:
        for name, value in server.env(tmp_path / "wandb").items():
            monkeypatch.setenv(name, value)
        options = RESCONV | {"mode": "online", "runs_dir": str(tmp_path / "runs")}
        assert run_in_child("resconv", options, "step", 10) == -9
        folder = only_run(tmp_path / "runs")
        run = server.run(folder.name[-8:])
        # The server has none of the rows, or only the first ones: a killed client loses its tail.
        assert len(run.rows) < 5
        assert run_in_child("resconv", options | {"resume": "auto"}) == 0
        assert_one_history(server, folder)
        assert not server.unknown_calls


def test_offline_the_sync_command_uploads_all_parts_as_one_history(tmp_path, monkeypatch):
    options = RESCONV | {"mode": "offline", "runs_dir": str(tmp_path / "runs"), "resume": "auto"}
    for count in (10, 1, 3):  # the second one is killed before W&B has written anything
        assert run_in_child("resconv", options, "step", count) == -9
    assert run_in_child("resconv", options) == 0
    folder = only_run(tmp_path / "runs")
    command = json.loads((folder / "summary.json").read_text())["wandb"]["sync_command"]
    with WandbServer() as server:
        for name, value in server.env(tmp_path / "wandb").items():
            monkeypatch.setenv(name, value)
        words = [sys.executable, *shlex.split(command)[1:]]
        for expected in ("uploaded to", "nothing to do"):
            done = subprocess.run(words, cwd=ROOT, timeout=120, capture_output=True, text=True)
            assert done.returncode == 0 and expected in done.stdout, done.stdout + done.stderr
        assert_one_history(server, folder)
        assert not server.unknown_calls


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_run_that_failed_at_its_end_sends_its_last_metrics_and_tables_when_resumed(
    mode, server, cli, monkeypatch
):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    small = ["--data", "garments", "--size", 12, "--train-images", 64, "--val-images", 15]
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "log_examples", fail)
        assert cli("classify", *small, "--epochs", 1, "--mode", mode).code == 1
    folder = only_run(Path("runs"))
    outcome = cli("classify", "--resume", folder)
    assert outcome.code == 0, outcome.err
    if mode == "offline":
        assert cli("sync", folder).code == 0
    [run] = server.runs
    assert (run.state, run.exit_code) == ("finished", 0)
    assert run.summary["results"]["_type"] == run.summary["confusion"]["_type"] == "table-file"
    metrics = {k: v for k, v in summary_of(folder)["last"].items() if k.startswith("overfit/")}
    assert len(metrics) == 3
    for name, value in metrics.items():
        assert run.summary[name]["last"] == value
