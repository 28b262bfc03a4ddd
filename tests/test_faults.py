"""A part of ``tests/faults``: damage, crashes, power cuts; and any bytes given to the readers."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import InputError, RunError
from experiment import checkpoints
from sweeps.sweep_file import read_sweep
from tests.faults.corrupt import corruptions
from tests.faults.crash import crashes
from tests.faults.damage import flipped
from tests.faults.journal import journal_corruptions
from tests.faults.power import cut_runs, cut_sweeps
from tracking.folder import read_config, state_of
from tracking.metrics_file import MetricsFile

CONFIG = b"task: resconv\nrun_id: a\ndataset: {checksum: x}\nlayers: 2\nlr: 0.1\n"
SWEEP = b"program: train.py\nmethod: grid\nparameters:\n  lr: {values: [0.1, 0.2]}\n"
ROWS = b"step,images_seen,epoch,train/l1\n1,16,0.1,0.5\n2,32,0.2,0.25\n"


@pytest.mark.slow
def test_corruptions_are_recovered_from_or_refused_and_none_is_trained_on(tmp_path):
    assert sum(corruptions(60, 1, tmp_path).values()) == 60


@pytest.mark.slow
def test_a_process_killed_at_any_writing_call_is_gone_on_with_bit_by_bit(tmp_path):
    assert crashes(5, 1, tmp_path, ("sweep", "classify")).startswith("5 crashes")


def test_a_damaged_journal_is_recovered_from_or_refused_and_never_believed(tmp_path):
    assert sum(journal_corruptions(40, 1, tmp_path).values()) == 40


def test_a_power_cut_loses_no_recorded_point_of_a_sweep(tmp_path):
    assert sum(cut_sweeps(12, 1, tmp_path).values()) == 12


@pytest.mark.slow
def test_a_power_cut_loses_nothing_that_a_run_reported_as_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    outcomes = cut_runs(40, 1, tmp_path, resumed=0.1)
    assert outcomes["resumed"] > 20 and outcomes["finished"] and outcomes["identical at the end"]


def checkpoint_bytes() -> bytes:
    file = io.BytesIO()
    torch.save({"format": checkpoints.FORMAT, "model": {"w": torch.arange(9.0)}}, file)
    return file.getvalue()


READERS = {
    "config.yaml": (CONFIG, lambda path: read_config(path.parent)),
    "summary.json": (b'{"state": "running"}', lambda path: state_of(path.parent)),
    "metrics.csv": (ROWS, lambda path: MetricsFile(path, ("train/l1",), 2).close()),
    "last.pt": (checkpoint_bytes(), checkpoints.load),
    "sweep.yaml": (SWEEP, read_sweep),
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=200), chance=st.randoms(use_true_random=False), mutate=st.booleans())
def test_any_bytes_give_a_result_or_an_error_of_one_line(name, data, chance, mutate, tmp_path):
    whole, read = READERS[name]
    path = Path(tmp_path) / name
    path.write_bytes(flipped(whole, chance) if mutate else data)
    try:
        read(path)
    except (InputError, RunError) as error:
        assert "\n" not in str(error)
