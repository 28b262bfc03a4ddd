"""The training options that the logbooks did not have: each against its own formula."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from common.errors import InputError
from tests.conftest import make_training, rows_of
from tests.test_loop import EVERY_LEVER
from training import base
from training.muon import COEFFICIENTS, Muon, conv_kernels
from training.optimizers import learning_rate, make_optimizer
from training.settings import TrainingSettings
from training.trainer import Trainer


def optimizer_gradients(training: Trainer) -> list[float]:
    """Filled with the norm of the gradient that each step of the optimizer gets."""
    norms: list[float] = []

    def note(*_: object) -> None:
        squares = [p.grad.double().square().sum().item() for p in training.net.parameters()]  # pyright: ignore[reportOptionalMemberAccess]
        norms.append(math.sqrt(sum(squares)))

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


def test_an_interval_resumed_from_before_norm_logging_has_no_norm():
    training = make_training(precision="fp32")  # auto may decide twice on a busy machine
    for _ in range(2):
        training.train_step()
    state = copy.deepcopy(training.state())
    state["meter"] |= {"names": ["l1"], "sums": state["meter"]["sums"][:1]}
    again = make_training(precision="fp32")
    again.load_state(state)
    again.train_step()
    row = again.read_row()
    training.train_step()
    assert row["train/l1"] == training.read_row()["train/l1"]
    assert "train/grad_norm" not in row
    again.train_step()
    assert again.read_row()["train/grad_norm"] > 0


def orthogonalized(matrix: Tensor) -> Tensor:
    """The same by singular values, in float64."""
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.norm()
    a, b, c = COEFFICIENTS
    for _ in range(3):
        s = a * s + b * s**3 + c * s**5
    return u @ s.diag() @ vh


def test_muon_updates_kernels_by_its_rule_and_the_rest_as_adamw():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(8, 12, 3), nn.Conv2d(40, 16, 1), nn.Conv2d(8, 12, 3, groups=2))
    net.append(nn.Conv2d(2, 8, 3)).to(memory_format=torch.channels_last)
    kernels = conv_kernels(net)
    assert [id(kernel) for kernel in kernels] == [id(net[n].weight) for n in (0, 1)]
    others = [p for p in net.parameters() if all(p is not kernel for kernel in kernels)]
    twins = [p.detach().clone().requires_grad_() for p in others]
    muon = Muon([{"params": others}], kernels, muon_lr=0.1, lr=0.01, weight_decay=0.1, fused=True)
    muon.found_inf = torch.zeros(())
    adamw = torch.optim.AdamW(twins, lr=0.01, weight_decay=0.1, fused=True)
    expected = [kernel.detach().double().flatten(1) for kernel in kernels]
    momenta = [torch.zeros_like(weight) for weight in expected]
    for _ in range(3):
        for p in net.parameters():
            p.grad = torch.randn_like(p)
        for twin, p in zip(twins, others, strict=True):
            twin.grad = p.grad
        for n, kernel in enumerate(kernels):
            gradient = kernel.grad.double().flatten(1)  # pyright: ignore[reportOptionalMemberAccess]
            momenta[n] = 0.6 * momenta[n] + gradient
            update = orthogonalized(gradient + 0.6 * momenta[n])
            scaled = expected[n] * math.sqrt(len(gradient)) / expected[n].norm()
            expected[n] = scaled - 0.1 * update
        muon.step()
        adamw.step()
    for kernel, weight in zip(kernels, expected, strict=True):
        torch.testing.assert_close(kernel.flatten(1).double(), weight, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(others, twins, strict=True))


def timed_training(monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> Trainer:
    """A training of half a minute whose next steps take so many ``seconds``, the last one for all.

    Validations take a second. No other time passes.
    """
    now = 0.0
    monkeypatch.setattr(base, "time", SimpleNamespace(perf_counter=lambda: now))
    training = make_training(minutes=0.5, log_every=2, images=64)
    losses, validate = training.task.losses, training.task.validate

    def slow_losses(*args: Any) -> dict[str, Tensor]:
        nonlocal now
        now += seconds.pop(0) if len(seconds) > 1 else seconds[0]
        return losses(*args)

    def slow_validate(*args: Any) -> dict[str, float]:
        nonlocal now
        now += 1.0
        return validate(*args)

    training.task.losses, training.task.validate = slow_losses, slow_validate
    return training


def test_minutes_limit_the_training_time_and_scale_the_schedule(monkeypatch):
    training = timed_training(monkeypatch, [3.0, 3.0, 1.0, 1.0, 2.0])
    rows = rows_of(training)
    # 6 s for two steps, 2 s for two; then 2 s each, and a second for the epoch of 8 steps.
    assert training.step == training.steps == 4 + (30 - 8 - 1) // 2
    assert training.total_images == 32 * training.step == rows[-1]["images_seen"]
    assert [row["step"] for row in rows if "val/l1" in row] == [8, 14]
    assert training.timer.seconds + training.validation_timer.seconds == 30
    expected = learning_rate("cosine", 3e-4, 13, 14)
    assert rows[-1]["train/lr"] == pytest.approx(expected)


def test_minutes_include_the_time_before_a_resume(monkeypatch):
    training = timed_training(monkeypatch, [2.0])
    for _ in range(6):
        training.train_step()
        if training.at_log_interval:
            training.read_row()
    again = timed_training(monkeypatch, [2.0])
    again.load_state(copy.deepcopy(training.state()))
    assert again.steps == training.steps == 15
    rows_of(again)
    assert again.step == 14, "12 of the 30 seconds were spent, and a validation takes one"


def test_a_net_without_a_conv_for_muon_is_refused():
    with pytest.raises(InputError, match="--optimizer muon: the net has no conv"):
        make_optimizer(TrainingSettings(optimizer="muon"), nn.Linear(9, 9))


def test_each_group_has_its_rate_and_the_log_has_that_of_adamw():
    training = make_training(**EVERY_LEVER, lr=0.001, muon_lr=0.05, scheduler="wsd")
    training.train_step()
    rates = [group["lr"] for group in training.optimizer.param_groups]
    assert rates == [0.001, 0.001, 0.05]
    assert training.read_row()["train/lr"] == 0.001
