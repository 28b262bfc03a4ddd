"""A trainer that takes over a saved state goes on exactly as the one that saved it."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.adapters import Trainer


@pytest.mark.parametrize("command", ["resconv", "classify"])
def test_training_goes_on_from_its_state_bit_by_bit(command, tiny_data):
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
