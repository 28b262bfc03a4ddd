"""Random flips, shifts and cutout for a whole batch at once, on the device that holds it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FILL = 128  # mid-grey, which the classifier sees as (almost) zero


def augment(
    images: Tensor, *, generator: torch.Generator, flip: bool, shift: int, cutout: int
) -> Tensor:
    """A new batch of ``images`` (uint8 [n c h w], on the generator's device), each drawn anew.

    ``flip`` mirrors every image with probability 1/2. ``shift`` moves it by up to so many pixels
    in each direction. ``cutout`` fills a square of that many pixels a side around a uniformly
    drawn centre, cut off at the border (DeVries and Taylor, arXiv 1708.04552). What comes in from
    outside, and the square, is ``FILL``. 0 or False switches each off and then draws nothing.
    """
    n, _, height, width = images.shape
    device = images.device
    every = torch.arange(n, device=device)
    y = torch.arange(height, device=device).expand(n, height)
    x = torch.arange(width, device=device).expand(n, width)
    rows, columns = y, x

    def draw(below: int) -> Tensor:
        return torch.randint(below, (n, 1), generator=generator, device=device)

    if flip:
        columns = torch.where(draw(2) == 1, width - 1 - columns, columns)
    if shift:
        images = F.pad(images, (shift,) * 4, value=FILL)
        rows, columns = rows + draw(2 * shift + 1), columns + draw(2 * shift + 1)
    # One gather for both; it puts the channels last, which the permute only names.
    images = images[every[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    images = images.permute(0, 3, 1, 2)
    if cutout:
        top, left = draw(height) - cutout // 2, draw(width) - cutout // 2
        inside_y, inside_x = (y >= top) & (y < top + cutout), (x >= left) & (x < left + cutout)
        images = images.masked_fill((inside_y[:, :, None] & inside_x[:, None, :])[:, None], FILL)
    return images
