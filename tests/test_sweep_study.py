"""The study behind an offline sweep: claims, losses, duplicates, samplers; nothing is trained."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from optuna.trial import TrialState

from common.errors import InputError
from sweeps import owner as owner_module
from sweeps.claims import Claims
from sweeps.owner import LEASE_SECONDS, is_gone, this_process
from sweeps.sampling import Hyperband
from sweeps.study import Study
from tests.conftest import ROOT
from tests.fake_runs import fake_run
from tests.small_sweeps import (
    HEAD,
    JOURNAL,
    RESULT,
    all_claims,
    next_claim,
    open_study,
    states,
    sweep_of,
)

GRID = f"name: mini\n{HEAD}  layers: {{values: [1, 2, 3]}}\n"


def claim_all(text: str, done) -> None:
    """What one of several commands does: queue the points, then claim until none is left."""
    _, claims = open_study(text)
    for claim in all_claims(claims):
        claims.done(claim, 0.5, RESULT)
        done.put(claim.point.key)


@pytest.mark.slow
def test_each_point_goes_to_exactly_one_of_four_processes():
    text = GRID.replace("[1, 2, 3]", str(list(range(1, 31))))
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    commands = [context.Process(target=claim_all, args=(text, done)) for _ in range(4)]
    for command in commands:
        command.start()
    claimed = [done.get(timeout=60) for _ in range(30)]
    for command in commands:
        command.join()
    assert done.empty()
    assert sorted(claimed) == sorted(point.key for point in sweep_of(text).grid())
    assert states(open_study(text)[0]) == ["done"] * 30


def test_a_claim_of_an_ended_process_is_released_at_once():
    ended = subprocess.run(
        [sys.executable, "-c", "from sweeps.owner import this_process as t; print(t())"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    owner = yaml.safe_load(ended.stdout)
    assert is_gone(owner) is True
    assert is_gone(this_process()) is False
    assert is_gone(this_process() | {"start": "1"}) is True  # the same id, another process
    assert is_gone(owner | {"host": "elsewhere"}) is None
    assert is_gone(owner | {"boot": "before the restart"}) is None


def test_a_claim_without_heartbeat_is_taken_over_and_its_late_result_ignored(monkeypatch):
    study, claims = open_study(GRID)
    monkeypatch.setattr(owner_module, "is_gone", lambda owner: None)  # owners on other machines
    first = next_claim(claims)
    assert states(study) == ["running", "missing", "missing"] and study.stale() == 0
    claims.heartbeat(first.trial_id)
    now = time.time()
    monkeypatch.setattr(owner_module.time, "time", lambda: now + LEASE_SECONDS - 5)
    assert states(study)[0] == "running" and study.stale() == 1
    monkeypatch.setattr(owner_module.time, "time", lambda: now + LEASE_SECONDS + 5)
    assert states(study)[0] == "missing"
    study.enqueue_missing()
    assert not claims.heartbeat(first.trial_id)
    assert study.waiting() == 3
    assert claims.report(first, 0.1, 1), "a run whose claim is gone should end"
    assert not claims.done(first, 0.1, {})
    taken = [next_claim(claims) for _ in range(3)]
    assert {claim.point.key for claim in taken} == {point.key for point in study.points}
    assert claims.next() is None


@pytest.mark.parametrize(("reason", "after"), [("pruned", "stopped"), ("taken over", "missing")])
def test_a_stopped_run_is_counted_only_if_hyperband_stopped_it(monkeypatch, reason, after):
    study, claims = open_study(GRID)
    claim = next_claim(claims)
    run = fake_run(Path(study.runs_dir), "a", 0.9, sweep="mini")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["sweep"] |= {"name": study.sweep.name, "point": claim.point.key}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"state": "stopped", "reason": reason}))
    monkeypatch.setattr(owner_module, "is_gone", lambda owner: True)
    study.enqueue_missing()
    assert states(study)[0] == after


def test_a_claim_without_an_owner_is_released_after_a_minute(monkeypatch):
    study, _ = open_study(GRID)
    study.storage.set_trial_state_values(
        study.in_state(TrialState.WAITING)[0]._trial_id, TrialState.RUNNING
    )  # killed before it could write who it was
    assert states(study)[0] == "running" and study.stale() == 1
    now = time.time()
    monkeypatch.setattr(owner_module.time, "time", lambda: now + 70)
    study.enqueue_missing()
    assert study.waiting() == 3 and study.stale() == 0


def test_a_process_killed_during_a_claim_is_recognised_as_ended(monkeypatch):
    study, claims = open_study(GRID)
    monkeypatch.setattr(Claims, "_write_claim", None)  # it dies before it can sign
    with pytest.raises(TypeError):
        claims.next()
    assert states(study)[0] == "running"
    monkeypatch.setattr(owner_module, "is_gone", lambda owner: True)
    assert states(study)[0] == "missing"
    study.enqueue_missing()
    assert study.waiting() == 3


def test_a_run_that_had_finished_before_the_kill_counts(monkeypatch):
    study, claims = open_study(GRID)
    claim = next_claim(claims)
    sweep = {"name": "mini", "point": claim.point.key}
    config = {"task": "resconv", "run_id": "x", "dataset": {"name": "garments"}}
    for name, state, point in (
        ("other", "finished", sweep | {"point": "other"}),
        ("broken", "running", sweep),
        ("mine", "finished", sweep),
        ("a run of an earlier study", "finished", sweep),
    ):
        folder = Path("runs") / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config | {"sweep": point}))
        summary = {"run_id": name, "state": state, "last": {"val/l1": 0.25}}
        (folder / "summary.json").write_text(json.dumps(summary))
    os.utime("runs/a run of an earlier study/summary.json", (0, 0))
    monkeypatch.setattr(owner_module, "is_gone", lambda owner: True)
    study.enqueue_missing()
    status = study.statuses()[0]
    assert (status.state, status.value) == ("done", 0.25)
    assert status.attrs["folder"] == str(Path("runs/mine").resolve())


def test_failed_points_need_retry_failed_and_killed_ones_do_not():
    study, claims = open_study(GRID)
    failed, killed, done = (next_claim(claims) for _ in range(3))
    claims.failed(failed, "the loss became NaN", {})
    claims.failed(killed, "killed by SIGKILL", {}, lost=True)
    claims.done(done, 0.1, {})
    assert states(study) == ["failed", "missing", "done"]
    assert study.statuses()[1].attrs["reason"] == "killed by SIGKILL"
    study.enqueue_missing()
    assert study.waiting() == 1
    study.enqueue_missing(retry_failed=True)
    assert study.waiting() == 2
    for claim in (next_claim(claims), next_claim(claims)):
        claims.done(claim, 0.2, {})
    assert states(study) == ["done"] * 3 and claims.next() is None


def test_points_queued_twice_by_commands_started_together_are_done_once():
    one, two = Study(JOURNAL, sweep_of(GRID)), Study(JOURNAL, sweep_of(GRID))
    one.enqueue_missing()
    for point in two.points:
        two._enqueue(point.key, {})
    taken = []
    first, second = Claims(one), Claims(two)
    while claim := (first.next() or second.next()):
        taken.append(claim.point.key)
    assert sorted(taken) == sorted(point.key for point in one.points)


def test_a_partial_line_of_a_killed_process_is_removed():
    study, _ = open_study(GRID)
    journal = Path(JOURNAL)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":8,"worker_id":"x","tri')
    again = Study(JOURNAL, sweep_of(GRID))
    assert journal.read_bytes() == whole
    assert again.waiting() == 3
    journal.write_bytes(whole + b'{"op_code":8,"worker_id":"x","tri')
    Claims(again).next()  # a command that is open then does not write on to that line
    assert all(json.loads(line) for line in journal.read_bytes().splitlines())
    assert study.waiting() == again.waiting() == 2
    journal.write_text('{"op_code":0,"worker_id":"x","study_na')  # of its first line
    assert open_study(GRID)[0].waiting() == 3


def test_bayes_settings_are_sampled_at_the_claim_and_kept_in_a_retry():
    text = GRID.replace("grid", "bayes\nrun_cap: 5") + (
        "  lr: {min: 0.0001, max: 0.01}\n"
        "  weight_decay: {distribution: log_uniform, min: -9.0, max: -1.0}\n"
    )
    study, claims = open_study(text)
    first, second = next_claim(claims), next_claim(claims)
    assert first.point.key == "place-0001" and first.point.args["lr"] != second.point.args["lr"]
    assert 1e-4 < first.point.args["weight_decay"] < 0.5  # e^-9 to e^-1
    claims.failed(first, "broken", {})
    for claim in all_claims(claims):
        claims.done(claim, 0.1, {})
    claims.done(second, 0.05, {})
    study.enqueue_missing(retry_failed=True)
    again = next_claim(claims)
    assert again.point == first.point
    with pytest.raises(InputError, match="its parameters differs"):
        Study(JOURNAL, sweep_of(text.replace("0.01", "0.02")))


def test_hyperband_stops_the_worse_half_at_each_band():
    rule = "early_terminate: {type: hyperband, min_iter: 2, eta: 2}\n"
    study, claims = open_study(GRID + rule)
    good, bad = next_claim(claims), next_claim(claims)
    assert not claims.report(good, 0.5, 1) and not claims.report(good, 0.1, 2)
    assert not claims.report(bad, 0.9, 1) and claims.report(bad, 0.8, 2)
    claims.done(bad, 0.8, {}, early=True)
    assert states(study)[:2] == ["running", "stopped"]
    bands = "early_terminate: {type: hyperband, max_iter: 27, s: 2}\n"
    assert Hyperband.of(sweep_of(GRID + bands)) == Hyperband(bands=(9, 3), eta=3)
    with pytest.raises(InputError, match="strict"):
        Hyperband.of(sweep_of(GRID + bands.replace("s: 2", "s: 2, strict: true")))
