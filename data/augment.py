"""Random flips, shifts and cutout for a whole batch at once, on the device that holds it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

FILL = 128  # mid-grey, which the classifier sees as (almost) zero


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for each image; 0 or False switches a part off, and then draws nothing.

    ``flip`` mirrors it with probability 1/2. ``shift`` moves it by up to so many pixels in each
    direction. ``cutout`` fills a square of that many pixels a side around a uniformly drawn
    centre, cut off at the border (DeVries and Taylor, arXiv 1708.04552). What comes in from
    outside, and the square, is ``FILL``.
    """

    flip: bool = False
    shift: int = 0
    cutout: int = 0

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """Decisions for ``n`` images of ``size`` (height, width): integers [n 1] each."""

        def integers(below: int) -> Tensor:
            return torch.randint(below, (n, 1), generator=generator)

        draws = {}
        if self.flip:
            draws["mirrored"] = integers(2)
        if self.shift:
            draws |= {"down": integers(2 * self.shift + 1), "right": integers(2 * self.shift + 1)}
        if self.cutout:
            draws |= {"cut_y": integers(size[0]), "cut_x": integers(size[1])}
        return draws

    def __call__(self, images: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """A new batch of ``images`` (uint8 [n c h w], on the device of ``draws``)."""
        n, _, height, width = images.shape
        device = images.device
        every = torch.arange(n, device=device)
        y = torch.arange(height, device=device).expand(n, height)
        x = torch.arange(width, device=device).expand(n, width)
        rows, columns = y, x
        if self.flip:
            columns = torch.where(draws["mirrored"] == 1, width - 1 - columns, columns)
        if self.shift:
            images = F.pad(images, (self.shift,) * 4, value=FILL)
            rows, columns = rows + draws["down"], columns + draws["right"]
        if self.flip or self.shift:
            # One gather for both; it puts the channels last, which the permute only names.
            images = images[every[:, None, None], :, rows[:, :, None], columns[:, None, :]]
            images = images.permute(0, 3, 1, 2)
        if self.cutout:
            top, left = draws["cut_y"] - self.cutout // 2, draws["cut_x"] - self.cutout // 2
            inside_y = (y >= top) & (y < top + self.cutout)
            inside_x = (x >= left) & (x < left + self.cutout)
            square = inside_y[:, :, None] & inside_x[:, None, :]
            images = images.masked_fill(square[:, None], FILL)
        return images
