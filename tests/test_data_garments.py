from __future__ import annotations

import hashlib

import pytest
import torch

from data.garments import draw
from data.images import content_checksum


def test_the_same_bytes_in_every_run_and_on_every_machine():
    grey, colour = draw((28, 28), 50, 20), draw((32, 32), 50, 20, channels=3)
    assert [content_checksum([s.train, s.val])[:16] for s in (grey, colour)] == [
        "ea52ba5f65c2ef2a",
        "61aff9f37b36b8b5",
    ]


def test_defaults_balance_and_independence_of_the_count():
    source = draw((28, 28))
    assert source.train.images.shape == (6_000, 1, 28, 28)
    assert source.val.images.shape == (1_000, 1, 28, 28)
    assert source.train.labels.view(-1, 10).sort(1).values.tolist() == [list(range(10))] * 600
    assert len({tuple(block) for block in source.train.labels.view(-1, 10).tolist()}) > 590
    few = draw((28, 28), 123, 7)
    assert torch.equal(few.train.images, source.train.images[:123])
    assert torch.equal(few.train.labels, source.train.labels[:123])
    assert torch.equal(few.val.images, source.val.images[:7])
    pictures = [hashlib.sha256(i.numpy()).digest() for i in source.train.images]
    held_out = {hashlib.sha256(i.numpy()).digest() for i in source.val.images}
    assert len(set(pictures)) > 5_990 and not held_out & set(pictures)
    assert not torch.equal(draw((28, 28), 123, 7, seed=1).train.images, few.train.images)


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (28, 28), (64, 33)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_in_grey_and_colour(size, channels):
    images = draw(size, 30, 10, channels=channels).train.images
    assert images.shape == (30, channels, *size)
    if channels == 3 and size[0] > 20:
        assert (images[:, 0] != images[:, 2]).any(dim=(1, 2)).all(), "colours, not grey"


def test_centred_on_black_and_large_enough_to_learn_from():
    source = draw((28, 28), 2_000, 10)
    images = source.train.images.float() / 255
    assert 0.15 < images.mean() < 0.35
    assert images[:, :, [0, -1]].mean() < 0.06 and images[..., [0, -1]].mean() < 0.06
    centre = (images.mean(0).squeeze(0) * torch.arange(28)).sum() / images.mean(0).sum()
    assert abs(centre.item() - 13.5) < 0.7
    for label in range(10):
        of_class = images[source.train.labels == label]
        assert of_class.mean(0).max() > 0.3 and of_class.std(0).mean() > 0.05


def test_some_classes_are_mirror_symmetric_and_some_are_not():
    source = draw((28, 28), 2_000, 10)
    images = source.train.images.float() / 255
    shift = (images - images.flip(-1)).abs().mean(dim=(1, 2, 3)) / images.mean(dim=(1, 2, 3))
    of_class = {
        name: shift[source.train.labels == label].median().item()
        for label, name in enumerate(source.class_names)
    }
    shoes = [of_class[name] for name in ("sandal", "sneaker", "ankle boot")]
    others = [value for name, value in of_class.items() if value not in shoes]
    assert min(shoes) > 1.3 * max(others)
