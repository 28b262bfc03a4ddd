"""Checks of every training warn by name, and say nothing of a sound one."""

from __future__ import annotations

import logging

import pytest
import torch

from common.log import log
from data import garments
from data.images import Source, Split, shared_images
from tests.adapters import Trainer, load_data
from tests.conftest import rows_of


@pytest.fixture
def messages():
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    log.addHandler(handler)
    yield found
    log.removeHandler(handler)


@pytest.mark.parametrize("command", ["resconv", "classify"])
def test_a_parameter_that_does_not_learn_is_named_once(command, tiny_data, messages):
    options = {"batch_size": 12, "images": 16 * 12, "weight_decay": 0}
    rows_of(Trainer(command, tiny_data, **options).real)
    assert messages == []
    trainer = Trainer(command, tiny_data, **options)
    names = [name for name, p in trainer.net.named_parameters() if p.ndim > 1]
    parameters = dict(trainer.net.named_parameters())
    parameters[names[0]].requires_grad_(False)
    group = trainer.optimizer.param_groups[0]
    group["params"] = [p for p in group["params"] if p is not parameters[names[1]]]
    rows_of(trainer.real)
    assert [f"no gradient reaches {names[0]}:" in messages[0], len(messages)] == [True, 2]
    assert f"{names[1]} have not changed" in messages[1]


def test_a_run_resumed_near_its_end_gets_no_warning_of_unchanged_parameters(tiny_data, messages):
    """A cosine schedule's last steps are too small to move weights near 1 in float32."""
    whole = Trainer("resconv", tiny_data, batch_size=12, images=120, lr=1e-9)
    for _ in range(9):
        whole.real.train_step()
    resumed = Trainer("resconv", tiny_data, batch_size=12, images=120, lr=1e-9)
    resumed.real.load_state(whole.real.state())
    rows_of(resumed.real)
    assert messages == []


def test_images_in_two_splits_are_counted_and_named(tiny_splits, monkeypatch):
    train, val, test = (Split(x.clone(), y) for x, y in tiny_splits.values())
    source = Source(
        name="s", train=train, val=val, test=test, class_names=("a", "b"), source="memory"
    )
    monkeypatch.setattr(garments, "load", lambda request: source)
    assert load_data("garments", size=(12, 12)).remarks == ()
    val.images[3] = val.images[7] = train.images[50]
    assert shared_images(train, val) == [(3, 50), (7, 50)]
    [remark] = load_data("garments", size=(12, 12)).remarks
    assert remark.startswith("2 of 40 validation images are also")
    assert "validation image 3 is training image 50, 7 is training image 50" in remark


def test_outputs_out_of_range_are_reported_once(tiny_data, messages):
    task = Trainer("resconv", tiny_data).task
    for low, high in ((0, 1), (-0.005, 1.005), (0.5, 1.5), (-3, 0.5)):
        task.validate(
            lambda x, low=low, high=high: x.sign() * (high - low) + low, torch.device("cpu")
        )
    assert len(messages) == 1 and "run from 0.5 to 1.5" in messages[0]
