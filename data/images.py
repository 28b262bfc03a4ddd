"""Types and transforms shared by all data sets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError


@dataclass(frozen=True)
class Split:
    """Images, uint8 ``[n c h w]``, and their labels, int64 ``[n]``, on the CPU."""

    images: Tensor
    labels: Tensor
    names: tuple[str, ...] = ()  # of the files, where each image is one

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, chosen: slice) -> Split:
        return Split(self.images[chosen], self.labels[chosen], self.names[chosen])


@dataclass(frozen=True, kw_only=True)
class Request:
    """Arguments of a loader, which ignores those that do not apply to it."""

    name: str  # as given by the user: a name, or the path of a folder
    root: Path | None = None  # where to look for the data set's files first
    size: tuple[int, int]  # (height, width)
    train_images: int | None = None  # at most so many are used
    val_images: int | None = None
    channels: int | None = None  # 1 or 3 where the caller needs that many; None: as they are
    may_download: bool = True


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set as its loader returns it, at any size."""

    name: str  # 'fashion-mnist', 'garments', 'dog-cat-bird', 'cifar10' or 'folder-NAME'
    train: Split
    val: Split
    test: Split | None
    class_names: tuple[str, ...]
    source: str  # a path, or a description where there is none
    skipped: int = 0  # files of a folder that were not used: not images, unreadable or too large
    remarks: tuple[str, ...] = ()  # what the user should know of the data, one line each


@dataclass(frozen=True, kw_only=True)
class ImageData(Source):
    """Images ready for training: all of one size, on the CPU, contiguous."""

    checksum: str  # SHA-256 over the images (a folder's after resizing) and labels in use
    fallback_reason: str | None = None  # why 'auto' took garments; None otherwise


class NotFoundError(InputError):
    """The data set is not on this machine and could not be downloaded; ``auto`` falls back."""


def resize_nearest(images: Tensor, size: tuple[int, int]) -> Tensor:
    """``images`` ``[n c h w]`` at ``size`` (height, width), by nearest neighbour.

    A pixel takes the source pixel under its centre, as in Pillow and in torch's
    ``nearest-exact``, so mirrored images stay mirrored (except for a pixel exactly in the middle).
    Enlarging by a whole number repeats pixels.
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


def content_checksum(splits: Iterable[Split]) -> str:
    """SHA-256 (hex) over shape, image bytes and label bytes of each split in turn."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr(tuple(split.images.shape)).encode())
        digest.update(split.images.contiguous().numpy().data)
        digest.update(split.labels.numpy().astype("<i8").data)
    return digest.hexdigest()


def shared_images(train: Split, other: Split) -> list[tuple[int, int]]:
    """The images of ``other`` that are training images too: the indices in both splits."""
    others = [image.tobytes() for image in other.images.numpy()]
    wanted, found = set(others), dict[bytes, int]()
    for index, image in enumerate(train.images.numpy()):
        if (pixels := image.tobytes()) in wanted:
            found.setdefault(pixels, index)
    return [(n, found[pixels]) for n, pixels in enumerate(others) if pixels in found]


def check_memory(images: int, channels: int, size: tuple[int, int]) -> None:
    """Raise ``InputError`` if the images, one byte per value, need over half of main memory."""
    needed = images * channels * size[0] * size[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory // 2:
        raise InputError(
            f"{images:,} images of {size[0]}x{size[1]} need {needed / 2**30:,.0f} GiB, more "
            f"than half of the {memory / 2**30:,.0f} GiB of main memory: lower --size or use fewer "
            "images, for example --train-images 1000."
        )


def to_float(images: Tensor, device: torch.device | None = None) -> Tensor:
    """uint8 [n c h w] to float32 in [0, 1] on ``device``, channels last."""
    images = images.to(device or images.device).float() / 255  # moved first: bytes, not floats
    return images.contiguous(memory_format=torch.channels_last)
