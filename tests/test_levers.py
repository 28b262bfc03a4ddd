"""The options of the training step beyond the logbooks: gradient norm and clipping."""

from __future__ import annotations

import copy

import pytest

from tests.test_loop import make_training
from training.trainer import Trainer


def optimizer_gradients(training: Trainer) -> list[float]:
    """Filled with the norm of the gradient that each step of the optimizer gets."""
    norms: list[float] = []

    def note(*_: object) -> None:
        gradients = [p.grad for p in training.net.parameters() if p.grad is not None]
        norms.append(sum(g.double().square().sum() for g in gradients).sqrt().item())  # pyright: ignore

    training.optimizer.register_step_pre_hook(note)
    return norms


def test_the_norm_is_logged_unclipped_and_the_update_gets_the_clipped_gradient():
    plain, clipped = make_training(precision="fp32"), make_training(precision="fp32", clip_norm=0.2)
    seen, cut = optimizer_gradients(plain), optimizer_gradients(clipped)
    rows = []
    for training in (plain, clipped):
        for _ in range(3):
            training.train_step()
        rows.append(training.read_row())
    assert rows[0]["train/grad_norm"] == pytest.approx(sum(seen) / 3, rel=1e-5)
    assert rows[1]["train/grad_norm"] > 0.2, "the norm is that before clipping"
    assert seen[0] > 0.2 and max(cut) == pytest.approx(0.2, rel=1e-4)


def test_an_interval_begun_before_the_norm_was_logged_ends_without_it():
    training = make_training()
    for _ in range(2):
        training.train_step()
    state = copy.deepcopy(training.state())
    state["meter"] |= {"names": ["l1"], "sums": state["meter"]["sums"][:1]}
    again = make_training()
    again.load_state(state)
    again.train_step()
    row = again.read_row()
    training.train_step()
    assert row["train/l1"] == training.read_row()["train/l1"]
    assert "train/grad_norm" not in row
    again.train_step()
    assert again.read_row()["train/grad_norm"] > 0
