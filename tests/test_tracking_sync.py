"""``sync``: every part of every run, once; the limits on waiting for other programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from experiment import describe
from tests.conftest import TINY
from tracking import sync as syncing
from tracking.folder import RunFolder
from tracking.record import read_run_folder

pytestmark = pytest.mark.slow


def test_sync_uploads_a_folder_of_runs_but_no_run_twice_and_none_at_work(server, cli, monkeypatch):
    for seed in range(2):
        assert cli("resconv", *TINY, "--mode", "offline", "--seed", seed).code == 0
    first, second = sorted(Path("runs").iterdir())
    at_work = RunFolder(second)
    assert at_work.lock()
    outcome = cli("sync", "runs")
    assert outcome.code == 0 and f"{second}: is still being written" in outcome.out, outcome
    assert [run.id for run in server.runs] == [first.name[-8:]]
    at_work.unlock()
    with server.fault(status=500, path="graphql"), monkeypatch.context() as patch:
        patch.setattr(syncing, "SYNC_SECONDS", 3)
        outcome = cli("sync", second)
        assert outcome.code == 2 and "could not be uploaded whole" in outcome.err, outcome
    Path("wandb").mkdir(exist_ok=True)
    Path("wandb/settings").write_text("[default]\nmode = offline\n")  # of runs, not of uploads
    outcome = cli("sync", "runs")
    assert outcome.code == 0 and f"{first}: nothing to do" in outcome.out, outcome
    assert sorted(run.id for run in server.runs) == sorted(f.name[-8:] for f in (first, second))
    assert [run.state for run in server.runs] == 2 * ["finished"]
    assert sorted(f"tester/convtune/runs/{run.id}" for run in server.runs) == sorted(
        str(read_run_folder(folder).url).partition("//")[2].partition("/")[2]
        for folder in (first, second)
    )
    steps = [[row["_step"] for row in run.rows if row["_step"]] for run in server.runs]
    assert steps == [[3, 6, 8], [3, 6, 8]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'RUN...'"),
        (["nothing"], "nothing: no run there"),
        (["runs"], "sync: no W&B API key found for https://"),
    ],
)
def test_sync_without_runs_or_key_is_refused_in_one_line(cli, arguments, said):
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/config.yaml").write_text("run_id: a\n")
    outcome = cli("sync", *arguments)
    assert outcome.code == 2 and said in outcome.err and outcome.err.count("\n") == 1


def test_a_hanging_program_is_not_waited_for(tmp_path, monkeypatch):
    """git on a dead network drive, and W&B's reader of a run folder."""
    for name in ("git", "python"):
        (tmp_path / name).write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(describe, "GIT_SECONDS", 0.2)
    assert describe._commit() is None
    monkeypatch.setattr(syncing, "INSPECT_SECONDS", 0.2)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    for name in ("abc", "abcd"):
        (tmp_path / "wandb" / f"offline-run-1-{name}").mkdir(parents=True)
        (tmp_path / "wandb" / f"offline-run-1-{name}" / f"run-{name}.wandb").touch()
    [part] = syncing._parts(tmp_path / "wandb", "abc")
    assert part.name == "offline-run-1-abc"
    assert syncing.last_offline_step(tmp_path / "wandb", "abc") == -1
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["git"], timeout=0.2)
