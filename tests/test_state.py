"""A trainer that takes over a saved state goes on exactly as the one that saved it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from experiment.run import run
from experiment.settings import Settings
from experiment.stop import StopRequest
from tests.adapters import Trainer
from tests.cut import only_run
from tests.test_nets import SMALL
from tests.test_resume import assert_same_runs


@pytest.mark.parametrize("command", ["resconv", "classify"])
def test_training_resumes_from_its_state_bit_by_bit(command, tiny_data):
    options = {"dropout": 0.5, "deterministic": True} if command == "classify" else {"layers": 2}
    first = Trainer(command, tiny_data, batch_size=16, images=160, **options)
    for _ in range(3):
        first.train_step()
    state = copy.deepcopy(first.state())
    losses = [first.train_step() for _ in range(3)]
    second = Trainer(command, tiny_data, batch_size=16, images=160, **options)
    torch.rand(5)  # another place in the sequence of random numbers
    second.load_state(state)
    assert [second.train_step() for _ in range(3)] == losses
    rates = [t.optimizer.param_groups[0]["lr"] for t in (first, second)]
    assert rates[0] == rates[1], "the schedule goes on"
    for name, value in first.net.state_dict().items():
        assert torch.equal(second.net.state_dict()[name], value), name


COMMON = {
    "data": "garments", "train_images": 64, "val_images": 20, "images": 128, "batch_size": 16,
    "size": 12, "log_every": 1, "device": "cpu", "precision": "fp32", "mode": "disabled",
    "resume": "auto",
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "resconv": {"layers": 2, "ch": 4, "act": "rrelu"},
    "classify": {"conv": "select", "deterministic": True, "dropout": 0.5, "cutout": 3},
    "unet": {"width": 8, "scheduler": "wsd", "fall": 0.7, "optimizer": "muon", "clip_norm": 1.0,
             "decay": "weights"},
    **{name: options for name, options in SMALL.items() if name not in ("resconv", "unet")},
}  # fmt: skip


def assert_stopped_twice_ends_as_left_alone(command, tmp_path, **changes):
    """Schedule, order, optimizer, random numbers, best weights and rows, at tolerance 0."""
    options = COMMON | CASES[command] | changes

    def train(folder: str, last_step: int) -> str:
        stop = StopRequest()

        def observe(row) -> None:
            if row.get("step") == last_step:
                stop.request("enough", preempted=True)

        settings = Settings.parse(command, options | {"runs_dir": str(tmp_path / folder)})
        return run(settings, observer=observe, stop=stop).state

    assert train("whole", 0) == "finished"
    assert [train("cut", step) for step in (3, 6, 0)] == ["preempted", "preempted", "finished"]
    assert_same_runs(only_run(tmp_path / "cut"), only_run(tmp_path / "whole"))


@pytest.mark.parametrize("command", CASES)
def test_a_run_stopped_twice_equals_an_uninterrupted_one(command, tmp_path):
    assert_stopped_twice_ends_as_left_alone(command, tmp_path)
