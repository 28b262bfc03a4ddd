"""What every image source gives, and what is done to all of them alike."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError


@dataclass(frozen=True)
class Split:
    """Images, uint8 ``[n c h w]``, and their labels, int64 ``[n]``, on the CPU."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set as its reader found or drew it, at its own size (see ``catalog.ImageData``)."""

    name: str
    train: Split
    val: Split
    test: Split | None
    class_names: tuple[str, ...]
    source: str
    skipped: int = 0


class NotFoundError(InputError):
    """The data set is not on this machine and could not be downloaded: ``auto`` goes on."""


def resize_nearest(images: Tensor, size: tuple[int, int]) -> Tensor:
    """``images`` ``[n c h w]`` at ``size`` (height, width), by nearest neighbour, never blended.

    A pixel takes the source pixel under its centre, as in Pillow and in torch's
    ``nearest-exact``, so mirror images stay mirror images (but for a pixel on the very middle).
    Whole-number enlarging repeats pixels.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    check_memory(len(images), images.shape[1], size)
    n, channels, height, width = images.shape
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, (height, width), strict=True)
    )
    pixels = (rows[:, None] * width + columns).ravel()
    flat = images.contiguous().numpy().reshape(n * channels, height * width)
    return torch.from_numpy(flat.take(pixels, axis=1)).view(n, channels, *size)


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Grey or RGB ``images`` ``[n c h w]`` with ``channels``: grey repeated, RGB as its luma.

    Luma is ITU-R 601 in whole numbers, ``(299 R + 587 G + 114 B) / 1000``, as in Pillow.
    """
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    weights = torch.tensor([299, 587, 114], dtype=torch.int32).view(1, 3, 1, 1)
    luma = [((part.int() * weights).sum(1, True) + 500) // 1000 for part in images.split(1024)]
    return torch.cat(luma).to(torch.uint8)


def content_checksum(splits: list[Split | None]) -> str:
    """SHA-256 (hex) over shape, image bytes and label bytes of each split in turn."""
    digest = hashlib.sha256()
    for split in splits:
        if split is None:
            continue
        digest.update(repr(tuple(split.images.shape)).encode())
        digest.update(split.images.contiguous().numpy().data)
        digest.update(split.labels.numpy().astype("<i8").data)
    return digest.hexdigest()


def check_memory(images: int, channels: int, size: tuple[int, int]) -> None:
    """Raise ``InputError`` where so many images, a byte a value, would not fit main memory."""
    needed = images * channels * size[0] * size[1]
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there // 2:
        raise InputError(
            f"{images:,} images of {size[0]}x{size[1]} need {needed / 2**30:,.0f} GiB and may take "
            f"half of the {there / 2**30:,.0f} GiB of main memory: lower --size or use fewer, "
            "for example --train-images 1000."
        )
