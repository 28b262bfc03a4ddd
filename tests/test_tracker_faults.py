"""The tracker cannot hurt the run: servers and W&B processes that fail while it trains."""

from __future__ import annotations

import csv
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb

from experiment import checkpoints as checkpoint
from tests.conftest import ROOT, TINY, run_folder
from tests.cut import only_run
from tests.test_stops import after_step
from tests.wandb_server import WandbServer
from tracking import server as wandb_server
from tracking import tracker as tracking
from tracking.server import choose_connection

pytestmark = pytest.mark.slow

ONLINE = [*TINY, "--images", "512", "--mode", "online"]
STEPS = [3, 6, 8, 9, 12, 15, 16]  # of the rows


def test_the_key_and_the_server_are_found_where_wandb_login_puts_them(monkeypatch):
    monkeypatch.setattr(wandb_server, "answers", lambda address: True)
    home = Path.home()
    cloud, own = "api.forge.coreweave.com", "wandb.example.org:8080"
    assert choose_connection().mode == "offline"
    for machine, noted, mode in (
        (cloud, "", "online"),
        ("api.wandb.ai", "", "online"),  # a key noted by an older client
        (own, "", "offline"),
        (own, f"[default]\nbase_url = http://{own}\n", "online"),
        (cloud, f"[default]\nbase_url = http://{own}\n", "offline"),
    ):
        (home / "netrc").write_text(f"machine {machine} login user password {40 * 'a'}\n")
        (home / ".config/wandb").mkdir(parents=True, exist_ok=True)
        (home / ".config/wandb/settings").write_text(noted)
        wandb.teardown()  # W&B reads its files once a process
        assert choose_connection().mode == mode, (machine, noted)


@pytest.mark.parametrize("name", ["Image", "Table", "Artifact.add_file"])
def test_objects_that_wandb_cannot_build_are_reported_once(cli, monkeypatch, name):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/media")

    monkeypatch.setattr(f"wandb.{name}", full)
    outcome = cli("resconv", *TINY, "--images", 512, "--mode", "offline")
    assert outcome.code == 0, outcome
    assert (outcome.out + outcome.err).count("W&B failed") == 1
    assert_whole(run_folder(outcome))


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def assert_whole(folder: Path) -> None:
    """The run folder is that of a finished run."""
    with open(folder / "metrics.csv", newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == STEPS
    assert checkpoint.load(folder / "checkpoints" / "last.pt")["training"]["step"] == 16
    assert summary_of(folder)["state"] == "finished"


def upload(folder: Path) -> None:
    python, program, *words = shlex.split(summary_of(folder)["wandb"]["sync_command"])
    assert (python, program, words[0]) == ("python", "train.py", "sync")
    subprocess.run([sys.executable, ROOT / program, *words], check=True, timeout=120)


def steps_of(server: WandbServer) -> list[int]:
    [run] = server.runs
    assert (run.state, run.exit_code) == ("finished", 0)
    return [row["_step"] for row in run.rows if row["_step"]]


FAULTS = {
    "does not answer": {"refuse": True},
    "did not take the run": {"status": 500, "path": "graphql"},
}


@pytest.mark.parametrize("reason", FAULTS)
def test_without_a_server_at_the_start_the_run_is_offline_and_syncs_later(
    reason, server, cli, monkeypatch
):
    monkeypatch.setattr(tracking, "INIT_SECONDS", 3)
    with server.fault(**FAULTS[reason]):
        outcome = cli("resconv", *ONLINE)
    assert (outcome.code, outcome.err) == (0, "")
    folder = run_folder(outcome)
    [line] = [line for line in outcome.out.splitlines() if reason in line]
    assert line.startswith("W&B is offline: the W&B server")
    assert_whole(folder)
    upload(folder)
    assert steps_of(server) == STEPS


def test_a_server_failure_during_training_loses_no_row(server, cli, monkeypatch):
    """Each of the faults lasts until W&B's client has met it while the run was training."""
    faults = iter([{"status": 500}, {"status": 429}, {"hang": True}])

    def fail() -> None:
        with server.fault(**next(faults), path="file_stream") as fault:
            server.wait_for(lambda: fault.hits)

    def cut_off() -> None:
        with server.fault(refuse=True):
            time.sleep(2)

    for step, act in ((6, fail), (8, fail), (9, fail), (15, cut_off)):
        after_step(monkeypatch, step, act)
    outcome = cli("resconv", *ONLINE)
    assert (outcome.code, outcome.err) == (0, "")
    assert_whole(run_folder(outcome))
    assert steps_of(server) == STEPS


def test_a_server_unreachable_at_the_end_delays_the_run_at_most_a_minute(server, cli, monkeypatch):
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 3)
    after_step(monkeypatch, 4, server.close)
    outcome = cli("resconv", *ONLINE)
    assert outcome.code == 0
    folder = run_folder(outcome)
    assert_whole(folder)
    assert outcome.out.count("the W&B server does not answer; the run goes on") == 1
    assert f"upload the rest with: {summary_of(folder)['wandb']['sync_command']}" in outcome.out
    server.listen()
    upload(folder)
    assert steps_of(server) == STEPS


def test_killing_wandbs_process_does_not_harm_the_run(server, cli, monkeypatch):
    def kill() -> None:
        found = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"], capture_output=True, text=True
        )
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    after_step(monkeypatch, 7, kill)
    outcome = cli("resconv", *ONLINE)
    assert outcome.code == 0
    assert_whole(only_run(Path("runs")))
    assert outcome.out.count("W&B failed (") == 1
    # Nothing of it is left to fail in the next run of this process, or at its end.
    assert cli("resconv", *TINY, "--mode", "offline").code == 0
