"""Checks of every training warn by name, and say nothing of a sound one."""

from __future__ import annotations

import logging

import pytest
import torch

from common.log import log
from data.images import Split
from tasks.base import RangeCheck
from tests.adapters import Trainer, image_data
from tests.conftest import rows_of
from training.checks import shared_images, warn_of_shared_images


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


def test_images_in_two_splits_are_counted_and_named(tiny_splits, messages):
    train, val = tiny_splits["train"], tiny_splits["val"]
    warn_of_shared_images(image_data(train, val, tiny_splits["test"]))
    assert messages == []
    images = val[0].clone()
    images[3], images[7] = train[0][50], train[0][50]
    assert shared_images(Split(*train), Split(images, val[1])) == [(3, 50), (7, 50)]
    warn_of_shared_images(image_data(train, (images, val[1])))
    assert len(messages) == 1 and messages[0].startswith("2 of 40 validation images are also")
    assert "validation image 3 is training image 50, 7 is training image 50" in messages[0]


def test_outputs_out_of_range_are_reported_once(messages):
    check = RangeCheck()
    for outputs in ([0.0, 1.0], [-0.005, 1.005], [0.5, 1.5], [-3.0, 0.5]):
        check.see(torch.tensor(outputs))
        check.report()
    assert len(messages) == 1 and "run from 0.5 to 1.5" in messages[0]
