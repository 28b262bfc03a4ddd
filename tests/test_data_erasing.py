from __future__ import annotations

import pytest
import torch

from tasks.corruptions import SIDES, erase, erased_mask, fixed_sides


@pytest.mark.parametrize("height, width", [(28, 28), (5, 7), (2, 3), (33, 10)])
def test_each_side_erases_its_half_and_nothing_else(height, width):
    images = torch.rand(4, 3, height, width) + 0.1
    out = erase(images, torch.arange(4))
    expected = images.clone()
    expected[SIDES.index("left"), :, :, : width // 2] = 0
    expected[SIDES.index("right"), :, :, width // 2 :] = 0
    expected[SIDES.index("top"), :, : height // 2] = 0
    expected[SIDES.index("bottom"), :, height // 2 :] = 0
    assert torch.equal(out, expected)
    mask = erased_mask(torch.arange(4), height, width)
    assert mask.shape == (4, 1, height, width) and mask.dtype == torch.bool
    assert torch.equal(mask.expand_as(out), out == 0)
    assert (images > 0).all(), "the input must stay as it was"


def test_bytes_and_channels_last_are_erased_too():
    images = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
    out = erase(images, torch.tensor([0, 3]))
    assert out.dtype == torch.uint8 and out.sum() == 2 * 8 * 255
    wide = torch.rand(3, 3, 6, 6).contiguous(memory_format=torch.channels_last)
    assert erase(wide, torch.tensor([1, 1, 2])).is_contiguous(memory_format=torch.channels_last)


def test_validation_sides_are_the_same_for_every_run_ever_made():
    literal = [0, 2, 3, 1, 0, 1, 3, 2, 3, 1, 2, 0, 1, 3, 2, 0]
    assert fixed_sides(16).tolist() == literal
    sides = fixed_sides(10_000)
    assert sides.dtype == torch.int64
    assert torch.equal(fixed_sides(777), sides[:777])
    assert torch.equal(fixed_sides(130, start=61), sides[61:191])
    assert fixed_sides(0).shape == (0,)


def test_validation_sides_are_balanced_and_unordered():
    sides = fixed_sides(10_000)
    assert sides.bincount().tolist() == [2_500] * 4
    # Chance for any pattern of index modulo m: 5 standard deviations of a fair draw are allowed.
    for modulus in (2, 3, 7, 10):
        for rest in range(modulus):
            part = sides[torch.arange(10_000) % modulus == rest]
            allowed = 5 * (len(part) * 3 / 16) ** 0.5
            assert ((part.bincount(minlength=4) - len(part) / 4).abs() <= allowed).all()
