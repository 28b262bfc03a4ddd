"""Random flips, shifts and cutout for a whole batch at once, on its device."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from data.batches import RandomParameters

FILL = 128  # mid-grey: almost 0 after the classifier's scaling


@dataclass(frozen=True)
class Augmentation:
    """The parts to apply; a part that is 0 or False samples no random parameters.

    ``flip`` mirrors an image with probability 1/2. ``shift`` moves it by up to N pixels in each
    direction. ``cutout`` fills a square of N x N pixels around a uniformly sampled centre, cropped
    at the border (DeVries and Taylor, arXiv 1708.04552). The square, and the area that a shift
    leaves empty, are filled with ``FILL``.
    """

    flip: bool = False
    shift: int = 0
    cutout: int = 0

    def sample(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> RandomParameters:
        """Random parameters for ``n`` images of ``size`` (height, width): integers [n 1] each."""

        def integers(below: int) -> Tensor:
            return torch.randint(below, (n, 1), generator=generator)

        random = {}
        if self.flip:
            random["mirrored"] = integers(2)
        if self.shift:
            random |= {"down": integers(2 * self.shift + 1), "right": integers(2 * self.shift + 1)}
        if self.cutout:
            random |= {"cut_y": integers(size[0]), "cut_x": integers(size[1])}
        return random

    def __call__(self, images: Tensor, random: RandomParameters) -> Tensor:
        """A new, augmented batch of ``images`` (uint8 [n c h w], on the device of ``random``)."""
        n, _, height, width = images.shape
        device = images.device
        every = torch.arange(n, device=device)
        y = torch.arange(height, device=device).expand(n, height)
        x = torch.arange(width, device=device).expand(n, width)
        rows, columns = y, x
        if self.flip:
            columns = torch.where(random["mirrored"] == 1, width - 1 - columns, columns)
        if self.shift:
            images = F.pad(images, (self.shift,) * 4, value=FILL)
            rows, columns = rows + random["down"], columns + random["right"]
        if self.flip or self.shift:
            # One gather for both; it puts the channels last in memory, and permute makes a view.
            images = images[every[:, None, None], :, rows[:, :, None], columns[:, None, :]]
            images = images.permute(0, 3, 1, 2)
        if self.cutout:
            top, left = random["cut_y"] - self.cutout // 2, random["cut_x"] - self.cutout // 2
            inside_y = (y >= top) & (y < top + self.cutout)
            inside_x = (x >= left) & (x < left + self.cutout)
            square = inside_y[:, :, None] & inside_x[:, None, :]
            images = images.masked_fill(square[:, None], FILL)
        return images
