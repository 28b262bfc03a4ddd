from __future__ import annotations

import pytest
import torch

from tasks.corruptions import SIDES, Half, Noise, Squares
from tests.conftest import make_training
from tests.plain import side_numbers


@pytest.mark.parametrize("height, width", [(28, 28), (5, 7), (2, 3), (33, 10)])
def test_each_side_erases_its_half_and_nothing_else(height, width):
    images = torch.rand(4, 3, height, width) + 0.1
    out, mask = Half()(images, torch.arange(4))
    expected = images.clone()
    expected[SIDES.index("left"), :, :, : width // 2] = 0
    expected[SIDES.index("right"), :, :, width // 2 :] = 0
    expected[SIDES.index("top"), :, : height // 2] = 0
    expected[SIDES.index("bottom"), :, height // 2 :] = 0
    assert torch.equal(out, expected)
    assert mask.shape == (4, 1, height, width) and mask.dtype == torch.bool
    assert torch.equal(mask.expand_as(out), out == 0)
    assert (images > 0).all(), "the input must stay as it was"


def test_channels_last_stays():
    wide = torch.rand(3, 3, 6, 6).contiguous(memory_format=torch.channels_last)
    out, _ = Half()(wide, torch.tensor([1, 1, 2]))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_validation_sides_are_fixed_balanced_and_unordered():
    """The first ones stand in tests/plain.py."""
    sides = Half().fixed(10_000)
    assert sides.dtype == torch.int64
    assert sides[:64].tolist() == side_numbers(64)
    assert torch.equal(Half().fixed(777), sides[:777])
    assert sides.bincount().tolist() == [2_500] * 4
    # Chance for any pattern of index modulo m: 5 standard deviations of a fair draw are allowed.
    for modulus in (2, 3, 7, 10):
        for rest in range(modulus):
            part = sides[torch.arange(10_000) % modulus == rest]
            allowed = 5 * (len(part) * 3 / 16) ** 0.5
            assert ((part.bincount(minlength=4) - len(part) / 4).abs() <= allowed).all()


def test_noise_is_normal_independent_of_the_batch_and_of_the_stated_size():
    images = torch.full((64, 3, 28, 28), 0.5)
    values = Noise(25).fixed(64)
    noisy, mask = Noise(25)(images, values)
    assert mask.all() and mask.shape == (64, 1, 28, 28)
    noise = ((noisy - images) * 255 / 25).double()
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert abs((noise**3).mean()) < 0.03 and abs((noise**4).mean() - 3) < 0.06
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean()
    between_images = (noise[1:] * noise[:-1]).mean()
    assert max(abs(neighbours), abs(between_images)) < 0.01
    again, _ = Noise(25)(images[5:7], values[5:7])
    torch.testing.assert_close(again, noisy[5:7])


def test_squares_have_the_stated_side_and_lie_inside():
    images = torch.rand(200, 1, 28, 40) + 0.1
    out, mask = Squares(1)(images, Squares(1).fixed(200))
    assert (mask.flatten(1).sum(1) == 49).all()
    assert torch.equal(mask, out == 0)
    touched = mask.any(0)[0]
    assert touched[0].any() and touched[-1].any() and touched[:, 0].any() and touched[:, -1].any()
    many = Squares(3)(images, Squares(3).fixed(200))[1].flatten(1).sum(1)
    assert many.max() == 147 and many.min() >= 49


def test_a_corruption_or_net_of_the_wrong_shape_is_named_with_its_shapes(monkeypatch):
    training = make_training()
    training.net.forward = lambda inputs: inputs[:, :, 1:]
    with pytest.raises(ValueError, match=r"^resconv: outputs \(\d+, 1, 11, 12\) for images \("):
        training.train_step()
    half = Half.__call__

    def without_channel(
        self: Half, images: torch.Tensor, random: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        damaged, mask = half(self, images, random)
        return damaged, mask[:, 0]

    monkeypatch.setattr(Half, "__call__", without_channel)
    with pytest.raises(ValueError, match=r"^half: .*bool mask of \(2, 12, 12\) for images"):
        make_training()
