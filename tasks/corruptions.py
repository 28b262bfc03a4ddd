"""Corruptions: damage done to images, with the mask of what was changed.

To add one, derive a class from ``Corruption`` here, with ``__call__``, which damages a batch, and
``describe``, and write its line in ``tasks.registry``. All work on the images' own device.
"""

import math

import torch
from torch import Tensor

SIDES = ("left", "right", "top", "bottom")


class Corruption:
    """Base: the random value of an image is an integer in [0, 2**31)."""

    def sample(self, generator: torch.Generator, n: int) -> Tensor:
        """Random values int64 [n] for training."""
        return torch.randint(2**31, (n,), generator=generator)

    def fixed(self, n: int) -> Tensor:
        """Values int64 [n] for validation images 0 .. n - 1: a hash of the index, no seed."""
        return _hash31(torch.arange(n, dtype=torch.int64))

    def demo(self, n: int) -> Tensor:
        """Values int64 [n] for the demo images."""
        return self.fixed(n)

    def __call__(self, images: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
        """Images float [n c h w] in [0, 1] and values [n] to inputs and mask, bool [n 1 h w]."""
        raise NotImplementedError

    def describe(self, random: int) -> str:
        """What was done to an image, for captions: ``left erased``."""
        raise NotImplementedError


class Half(Corruption):
    """One half is set to 0; the random value is an index into ``SIDES`` (logbook A)."""

    def sample(self, generator: torch.Generator, n: int) -> Tensor:
        """Each side with probability 1/4."""
        return torch.randint(len(SIDES), (n,), generator=generator)

    def fixed(self, n: int) -> Tensor:
        """Every four consecutive images get the four sides, so multiples of 4 are balanced.

        The order within a group of four is a fixed integer hash of the group's number.
        """
        index = torch.arange(n, dtype=torch.int64)
        group, position = index // 4, index % 4
        keys = torch.stack([_hash31(group * 4 + side) for side in range(4)], dim=1)
        # Distinct keys: the two low bits are the side, so ties cannot depend on the sort.
        keys = keys * 4 + torch.arange(4)
        return keys.argsort(dim=1).gather(1, position[:, None]).squeeze(1)

    def demo(self, n: int) -> Tensor:
        """The four sides in turn."""
        return torch.arange(n, dtype=torch.int64) % len(SIDES)

    def __call__(self, images: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
        mask = half_mask(random, *images.shape[-2:])
        # A product rather than masked_fill, which would lose the channels_last layout.
        return images * ~mask, mask

    def describe(self, random: int) -> str:
        return f"{SIDES[random]} erased"


class Noise(Corruption):
    """Gaussian noise of standard deviation ``sigma`` on the scale 0-255, added to every pixel.

    Not clipped, as usual in denoising benchmarks (DnCNN, arXiv 1608.03981). A pixel's noise is a
    hash of the image's random value and the pixel, so that it is the same on every device and in
    every batch.
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def __call__(self, images: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
        first, second = _uniform_pairs(random, images[0].numel())
        # Box-Muller: two uniform numbers make a normal one.
        normal = (-2 * first.log()).sqrt() * (2 * math.pi * second).cos()
        noise = normal.view(len(images), *images.shape[1:]) * (self.sigma / 255)
        mask = images.new_ones((len(images), 1, *images.shape[-2:]), dtype=torch.bool)
        return images + noise.to(images.dtype), mask

    def describe(self, random: int) -> str:
        return f"noise of sigma {self.sigma:g}"


class Squares(Corruption):
    """``count`` squares of a quarter of the shorter side are set to 0, at random positions."""

    def __init__(self, count: float) -> None:
        self.count = int(count)

    def __call__(self, images: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[-2:]
        side = max(1, min(height, width) // 4)
        first, second = _uniform_pairs(random, self.count)
        top = (first * (height - side + 1)).long()[:, :, None, None]
        left = (second * (width - side + 1)).long()[:, :, None, None]
        row = torch.arange(height, device=images.device).view(1, 1, -1, 1)
        column = torch.arange(width, device=images.device).view(1, 1, 1, -1)
        inside = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
        mask = inside.any(1, keepdim=True)
        return images * ~mask, mask

    def describe(self, random: int) -> str:
        return f"{self.count} squares erased"


def half_mask(sides: Tensor, height: int, width: int) -> Tensor:
    """Which pixels are erased: bool [n 1 h w] for ``sides`` [n], indices into ``SIDES``.

    Halves split at ``size // 2``, so that of an odd size the right and bottom halves are one pixel
    larger (logbook A).
    """
    device = sides.device
    past_row = (torch.arange(height, device=device) >= height // 2).view(1, 1, height, 1)
    past_column = (torch.arange(width, device=device) >= width // 2).view(1, 1, 1, width)
    side = sides.view(-1, 1, 1, 1)
    # Odd sides (right, bottom) erase what lies past the split, even ones what lies before it.
    return torch.where(side < 2, past_column, past_row) == (side % 2 == 1)


def _uniform_pairs(random: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Twice ``count`` uniform float32 numbers in (0, 1) an image, hashes of its random value."""
    key = random[:, None] * 2_654_435_761 + 2 * torch.arange(count, device=random.device)
    first, second = (((_hash31(k) >> 7).float() + 0.5) * 2.0**-24 for k in (key, key + 1))
    return first, second


def _hash31(x: Tensor) -> Tensor:
    """A 31-bit integer mix (multiply, xor, shift), element by element, free of overflow."""
    mask = 0x7FFFFFFF
    x = x & mask
    for multiplier in (0x45D9F3B, 0x119DE1F3):
        x = ((x >> 16) ^ x) * multiplier & mask
    return (x >> 16) ^ x
