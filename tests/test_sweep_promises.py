"""What W&B asks of a sweep's optimizer in its acceptance tests (mid-2026), in our words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sweeps.claims import Claims
from tests.conftest import ROOT
from tests.small_sweeps import MINI, RESULT, all_claims, next_claim, open_study, write

METHODS = {
    "grid": MINI,
    "random": MINI.replace("method: grid", "method: random\nrun_cap: 4"),
    "bayes": MINI.replace("method: grid", "method: bayes\nrun_cap: 4"),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_point_has_an_id_and_settings_of_its_own(method):
    study, claims = open_study(METHODS[method])
    taken = []
    for claim in all_claims(claims):
        taken.append(claim)
        claims.done(claim, 0.1 * len(taken), RESULT)
    assert len(taken) == len(study.points) == {"grid": 6, "random": 4, "bayes": 4}[method]
    for of in (lambda c: c.trial_id, lambda c: c.point.key, lambda c: c.settings_key):
        assert len({of(claim) for claim in taken}) == len(taken)


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_run_stays_stopped_whatever_it_reports_later(method):
    study, claims = open_study(METHODS[method])
    claim = next_claim(claims)
    assert not claims.report(claim, 0.5, 1)
    assert claims.done(claim, 0.5, RESULT, early=True)
    assert claims.report(claim, 0.001, 2), "the next report asks it to stop again"
    assert not claims.done(claim, 0.001, RESULT) and not claims.failed(claim, "late", {})
    [stopped] = [status for status in study.statuses() if status.state == "stopped"]
    assert stopped.value == 0.5
    trial = study.storage.get_trial(claim.trial_id)
    assert trial.intermediate_values == {1: 0.5}


@pytest.mark.parametrize("method", METHODS)
def test_a_point_claimed_but_never_started_is_claimed_again(method, monkeypatch):
    study, claims = open_study(METHODS[method])
    first = next_claim(claims)
    monkeypatch.setattr("sweeps.owner.is_gone", lambda owner: True)  # killed before it trained
    study.enqueue_missing()
    monkeypatch.undo()
    os.chdir(Path(study.runs_dir).parent)
    again = list(all_claims(Claims(study)))
    [same] = [claim for claim in again if claim.point.key == first.point.key]
    assert same.point.args == first.point.args, "with the settings it had been given"
    assert len({claim.settings_key for claim in again}) == len(study.points)


POISON = """
import os, signal, sys
from experiment import run as runs
original = runs.run
def run(settings, **options):
    if settings.net.layers == 2:  # it kills its process
        os.kill(os.getpid(), signal.SIGSEGV)
    if settings.net.layers == 3:  # it leaves at once
        os._exit(7)
    if settings.net.layers == 4:  # it raises what is no exception of ours
        raise MemoryError('poisoned')
    if settings.net.layers == 5:  # it ends Python
        sys.exit(3)
    return original(settings, **options)
runs.run = run
"""


@pytest.mark.slow
def test_runs_that_corrupt_their_process_fail_alone(shell, tmp_path):
    write(MINI.replace("[3, 5]", "[3]").replace("[1, 2, 3]", "[2, 1, 3, 4, 5, 6]"))
    (tmp_path / "sitecustomize.py").write_text(POISON)
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    outcome = shell("sweep", "mini.yaml", "--mode", "disabled", **path)
    assert outcome.code == 1, outcome
    assert "6 points: 2 done, 0 running, 4 failed, 0 missing" in outcome.out, outcome
    assert all(f"failed: layers={layers}: " in outcome.out for layers in (2, 3, 4, 5))
    finished = [json.loads(file.read_text()) for file in Path("runs").glob("*/summary.json")]
    assert [summary["state"] for summary in finished] == ["finished"] * 2
