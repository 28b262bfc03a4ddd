from __future__ import annotations

import hashlib

import pytest
import torch

from data.garments import load
from data.images import Request, content_checksum
from tests.adapters import load_data


@pytest.mark.parametrize(
    "train_images, val_images, checksum",
    [
        (None, None, "d5223fd8d42ee50d8cd7bafde50c7267a4e523c07d793676837362ec279a7ef0"),
        (50, 20, "ea52ba5f65c2ef2a15da13b2e2ed91bfd4c5d407bc32f2890625e41999d82059"),
        (256, 40, "8a252ed068e9871d24a0fced43952e9cab8e0682652662ee2d5c8c22db78a12d"),
        (7, 3, "cd5b0b82b140cab2125b0b08d305ba680d7a5318a3144c7244a675203e6d0c28"),
    ],
)
def test_grey_garments_equal_those_of_commit_73bab81(train_images, val_images, checksum):
    counts = {"train_images": train_images, "val_images": val_images}
    assert load_data("garments", size=(28, 28), **counts).checksum == checksum
    larger = load_data("garments", size=(64, 33), **counts)
    assert larger.checksum == checksum and larger.train.images.shape[2:] == (64, 33)


def test_ten_consecutive_garments_hold_each_class_once_and_splits_are_disjoint():
    source = load(Request(name="garments", size=(28, 28)))
    assert source.train.images.shape == (6_000, 1, 28, 28)
    assert source.val.images.shape == (1_000, 1, 28, 28)
    assert source.train.labels.view(-1, 10).sort(1).values.tolist() == [list(range(10))] * 600
    train = {hashlib.sha256(i.numpy().tobytes()).digest() for i in source.train.images}
    held_out = {hashlib.sha256(i.numpy().tobytes()).digest() for i in source.val.images}
    assert len(train) > 5_990 and not held_out & train


def test_colour_is_a_tint_of_the_grey_image_that_never_changes():
    grey = load(Request(name="garments", size=(28, 28))).train.images.int()
    source = load(Request(name="garments", size=(28, 28), channels=3))
    colour = source.train.images.int()
    assert "tinted" in source.source and colour.shape == (6_000, 3, 28, 28)
    assert content_checksum([source.train])[:16] == "c2a09f6c49cc1229"
    assert (colour <= grey).all()
    strength = colour.amax((2, 3)) / grey.amax((2, 3))
    assert strength.min() > 0.36 and strength.max() <= 1
    assert (strength.mean(0) - 0.688).abs().max() < 0.01, "no channel is preferred"
    by_class = torch.stack([strength[source.train.labels == n].mean(0) for n in range(10)])
    assert (by_class - strength.mean(0)).abs().max() < 0.05, "colour does not tell the class"
