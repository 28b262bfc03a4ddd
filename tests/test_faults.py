"""A part of what ``tests/faults`` does by hand: damage, crashes, power cuts."""

from __future__ import annotations

import pytest

from tests.faults.corrupt import corruptions
from tests.faults.crash import crashes
from tests.faults.journal import journal_corruptions
from tests.faults.power import cut_runs, cut_sweeps


@pytest.mark.slow
def test_corruptions_are_recovered_from_or_refused_and_none_is_trained_on(tmp_path):
    assert sum(corruptions(60, 1, tmp_path).values()) == 60


@pytest.mark.slow
def test_a_process_killed_at_any_write_call_resumes_bit_by_bit(tmp_path):
    assert crashes(5, 1, tmp_path, ("sweep", "classify")).startswith("5 crashes")


def test_a_damaged_journal_is_recovered_or_refused_and_never_trusted(tmp_path):
    assert sum(journal_corruptions(40, 1, tmp_path).values()) == 40


def test_a_power_cut_loses_no_recorded_point_of_a_sweep(tmp_path):
    assert sum(cut_sweeps(12, 1, tmp_path).values()) == 12


@pytest.mark.slow
def test_a_power_cut_loses_nothing_that_a_run_reported_as_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    outcomes = cut_runs(40, 1, tmp_path, resumed=0.1)
    assert outcomes["resumed"] > 20 and outcomes["finished"] and outcomes["identical at the end"]
