"""Limits of a sweep, infeasible points, names, Hyperband with seeds, and what --status shows."""

from __future__ import annotations

import json
import re
import time
from io import StringIO
from pathlib import Path
from threading import Event

import pytest
import yaml
from rich.console import Console

from common.errors import RunError
from sweeps.children import Children
from sweeps.claims import Claims
from sweeps.progress import ProgressDisplay, run_name
from sweeps.study import PointStatus, Study
from sweeps.supervisor import Engine, Stop, Supervisor
from sweeps.worker import Job, Worker
from tests.conftest import summary_of
from tests.cut import only_run
from tests.small_sweeps import (
    JOURNAL,
    MINI,
    ONE_POINT,
    SHORT,
    next_claim,
    open_study,
    states,
    sweep_of,
    write,
)  # fmt: skip

DISABLED = {"mode": "disabled"}


def stop_of(display: ProgressDisplay, seconds: float = 1, **limits) -> Stop:
    supervisor = Supervisor(Engine(), Children(1, [], Path("logs")), display, **limits)
    supervisor.began -= seconds
    supervisor.check_limits()
    return supervisor.stop


def test_a_sweep_with_unreadable_final_state_is_not_reported_as_done():
    class Away(Engine):
        def statuses(self) -> None: ...
        def next_command(self, children: Children) -> None: ...
        def work_remains(self) -> bool:
            return False

    point = PointStatus(sweep_of().grid()[0], "running")
    console = Console(file=StringIO())
    display = ProgressDisplay(sweep_of(), 1, console)
    assert Supervisor(Away(), Children(1, [], Path("logs")), display).run([point]) == 1


def test_limits_on_failures_hours_and_target_let_current_runs_finish():
    sweep = sweep_of(MINI.replace("minimize}", "minimize, target: 0.3}"))
    first, second = sweep.grid()[:2]
    display = ProgressDisplay(sweep, 1)
    display.update([PointStatus(first, "done", {}, 0.4), PointStatus(second, "missing")], [])
    display.announce([PointStatus(second, "failed", {"reason": "x"})])
    assert stop_of(display, max_failures=2, max_hours=1).level == 0
    assert "--max-failures 1 is reached" in stop_of(display, max_failures=1).reason
    assert "--max-hours 0.5 is over" in stop_of(display, seconds=1801, max_hours=0.5).reason
    display.update([PointStatus(first, "done", {}, 0.3)], [])
    stop = stop_of(display)
    assert (stop.level, stop.by_user) == (1, False) and "val/l1 0.3 is reached" in stop.reason
    assert display.close([PointStatus(first, "done", {}, 0.3), PointStatus(second, "missing")]) == 0


@pytest.mark.slow
def test_count_limits_the_points_and_status_reports_the_rest_as_json(cli):
    file = write(SHORT + "  lr: {values: [0.001, 0.002, 0.003]}\n")
    outcome = cli("sweep", file, "--mode", "disabled", "--count", 2, "--tags", "a,b",
                    "--notes", "why")  # fmt: skip
    assert outcome.code == 1 and "3 points: 2 done, 0 running, 0 failed, 1 missing" in outcome.out
    config = next(Path("runs").glob("*/config.yaml")).read_text()
    assert re.search(r"tags:\s+- a\s+- b", config) and "notes: why" in config
    shown = json.loads(cli("sweep", file, "--status", "--json").out)
    assert shown["metric"] == {"name": "val/l1", "goal": "minimize"}
    assert [point["state"] for point in shown["points"]] == ["done", "done", "missing"]
    assert shown["points"][2]["args"]["lr"] == 0.003
    assert cli("sweep", file, "--mode", "disabled").code == 0
    start = time.monotonic()
    watched = cli("sweep", file, "--status", "--watch")
    assert watched.code == 0 and time.monotonic() - start < 60, "it ends when nothing is to come"


@pytest.mark.slow
def test_a_point_that_cannot_be_trained_fails_alone(cli):
    text = SHORT.replace("method: grid", "method: random\nrun_cap: 3")
    file = write(text.replace("ks: {values: [3]}", "ks: {min: 3, max: 5}"))
    outcome = cli("sweep", file, "--mode", "disabled")
    assert outcome.code == 1 and re.search(r"failed: ks=4: .*odd", outcome.out), outcome
    assert "3 points: 2 done, 0 running, 1 failed, 0 missing" in outcome.out


def test_run_names_hold_the_varying_settings_and_the_seed():
    text = MINI.replace("[1, 2, 3]", "[1, 2]") + "  lr: {values: [0.12345678, 0.12345679]}\n"
    sweep = sweep_of(text).with_seeds(2)
    points = sweep.grid()
    names = {run_name(sweep, point, point.key) for point in points}
    assert len(names) == len(points) == 16
    assert "mini-ks3-layers1-lr0.12345678-seed0" in names
    long = sweep_of(text.replace("name: mini", f"name: {'x' * 70}"))
    names = {run_name(long, point, point.key) for point in long.grid()}
    assert len(names) == 8 and max(map(len, names)) == 64


def test_hyperband_judges_a_setting_by_the_mean_of_its_seeds():
    text = MINI.replace("[1, 2, 3]", "[1, 2]").replace("[3, 5]", "[3]")
    rule = "early_terminate: {type: hyperband, min_iter: 1, eta: 2}\n"
    study = Study(JOURNAL, sweep_of(text + rule).with_seeds(2))
    study.enqueue_missing()
    claims = Claims(study)
    taken = [next_claim(claims) for _ in range(4)]
    by_point = {(c.point.args["layers"], c.point.args["seed"]): c for c in taken}
    assert not claims.report(by_point[1, 0], 0.1, 1)
    assert claims.report(by_point[2, 0], 0.3, 1), "its mean 0.3 is above 0.1"
    assert not claims.report(by_point[1, 1], 0.2, 1), "the mean 0.15 is the best"
    # Alone it would be the best of all; its setting's mean of 0.3 and 0.05 is not.
    assert claims.report(by_point[2, 1], 0.05, 1)
    assert not claims.report(by_point[1, 0], 0.4, 1), "a validation counts once"


def test_a_full_disk_is_reported_in_one_line(cli, monkeypatch):
    Study(JOURNAL, sweep_of())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("optuna.storages.journal.JournalFileBackend.append_logs", full)
    outcome = cli("sweep", "mini.yaml", "--mode", "disabled")
    assert outcome.code == 1 and outcome.err == (
        f"Error: the study {JOURNAL} cannot be kept: No space left on device\n"
    )  # fmt: skip


def test_a_run_whose_study_fails_is_saved_and_resumes_when_queued_again(monkeypatch):
    text = ONE_POINT.replace("\n  images: {value: 256}", "\n  images: {value: 512}")
    study, _ = open_study(text)
    job = Job(JOURNAL, "mini.yaml", yaml.safe_load(text), "c", "runs", tracking=DISABLED)

    def fail(*_: object) -> None:
        raise RunError("the study has not answered for 60 s")

    with monkeypatch.context() as patch:
        patch.setattr(Claims, "report", fail)
        Worker(job, Event()).work()
    [status] = study.statuses()
    assert (status.state, status.attrs["kind"]) == ("missing", "lost")
    assert "the study cannot be used: the study has not answered" in status.attrs["reason"]
    folder = only_run(Path("runs"))
    assert summary_of(folder)["state"] == "preempted"
    study.enqueue_missing()
    Worker(job, Event()).work()
    assert states(study) == ["done"]
    assert only_run(Path("runs")) == folder and summary_of(folder)["images_seen"] == 512
