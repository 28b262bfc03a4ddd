"""Erasing one half of each image, as one batched operation on the images' own device."""

from __future__ import annotations

import torch
from torch import Tensor

SIDES = ("left", "right", "top", "bottom")


def erased_mask(sides: Tensor, height: int, width: int) -> Tensor:
    """Which pixels are erased: bool ``[n 1 height width]`` for ``sides`` ``[n]``.

    ``sides`` holds indices into ``SIDES``. Halves split at ``size // 2``, so that of an odd size
    the right and bottom halves are one pixel larger (logbook, section A).
    """
    device = sides.device
    past_row = (torch.arange(height, device=device) >= height // 2).view(1, 1, height, 1)
    past_column = (torch.arange(width, device=device) >= width // 2).view(1, 1, 1, width)
    side = sides.view(-1, 1, 1, 1)
    # Odd sides (right, bottom) erase what lies past the split, even ones what lies before it.
    return torch.where(side < 2, past_column, past_row) == (side % 2 == 1)


def erase(images: Tensor, sides: Tensor) -> Tensor:
    """A copy of ``images`` ``[n c h w]`` with the half named by ``sides`` ``[n]`` set to 0."""
    # A product rather than masked_fill, which would lose the channels_last layout.
    return images * ~erased_mask(sides, *images.shape[-2:])


def fixed_sides(n: int, start: int = 0) -> Tensor:
    """The side erased in validation for image indices ``start .. start + n - 1``: int64 ``[n]``.

    Every four consecutive images (counted from index 0) get the four sides once each, in an order
    drawn by a fixed integer hash of the group's number. No seed, no state: each run ever made
    erases the same half of the same image, and any four times k images are exactly balanced.
    """
    index = torch.arange(start, start + n, dtype=torch.int64)
    group, place = index // 4, index % 4
    keys = torch.stack([_hash31(group * 4 + side) for side in range(4)], dim=1)
    # Distinct keys: the two low bits are the side itself, so that ties cannot depend on the sort.
    keys = keys * 4 + torch.arange(4)
    return keys.argsort(dim=1).gather(1, place[:, None]).squeeze(1)


def _hash31(x: Tensor) -> Tensor:
    """A 31-bit integer mix (multiply, xor, shift), element by element, free of overflow."""
    mask = 0x7FFFFFFF
    x = x & mask
    for multiplier in (0x45D9F3B, 0x119DE1F3):
        x = ((x >> 16) ^ x) * multiplier & mask
    return (x >> 16) ^ x
