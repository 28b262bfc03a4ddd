"""Garments drawn by rule: ten classes like Fashion-MNIST's, no files, no network.

A stand-in where the real images cannot be had. Shapes are signed distances over the pixel grid,
so they are sharp at any size. Cloth carries stripes, checks, chevrons, dots or gradients that run
through the whole garment: to restore an erased half, a network has to carry their phase over from
the half that is left, and for mirrored ones from the mirrored place.

Per pixel only +, -, *, /, sqrt, floor and comparisons are used, which every processor rounds alike,
and all chance comes from an integer hash of (seed, split, image, draw): the bytes never differ.
"""

from __future__ import annotations

import numpy as np
import torch

from data.garment_shapes import CLASS_NAMES, DRAW
from data.images import Source, Split, check_memory
from data.painting import Canvas, Dice

SEED = 2020
TRAIN_IMAGES, VAL_IMAGES = 6_000, 1_000
PIXELS_AT_ONCE = 1 << 18  # what a core's cache holds


def draw(
    size: tuple[int, int],
    train_images: int | None = None,
    val_images: int | None = None,
    *,
    channels: int = 1,
    seed: int = SEED,
) -> Source:
    """Training and validation images at ``size`` (height, width), grey or (3 channels) coloured.

    Every ten consecutive images show the ten classes once each. Image i is the same however many
    are drawn; the two splits share no image. Raises ``InputError`` beyond main memory.
    """
    counts = (train_images or TRAIN_IMAGES, val_images or VAL_IMAGES)
    check_memory(sum(counts), channels, size)
    train, val = (
        _split(count, size, channels, stream=2 * seed + part) for part, count in enumerate(counts)
    )
    return Source(
        name="garments",
        train=train,
        val=val,
        test=None,
        class_names=CLASS_NAMES,
        source=f"drawn with seed {seed}",
    )


def _split(count: int, size: tuple[int, int], channels: int, stream: int) -> Split:
    index = np.arange(count)
    labels = _labels(index, stream)
    images = np.empty((count, channels, *size), dtype=np.uint8)
    batch = max(1, PIXELS_AT_ONCE // (size[0] * size[1] * channels))
    for label, draw_class in enumerate(DRAW):
        of_class = index[labels == label]
        for start in range(0, len(of_class), batch):
            chosen = of_class[start : start + batch]
            canvas = Canvas(Dice(stream, chosen), size, channels)
            draw_class(canvas)
            images[chosen] = canvas.pixels()
    return Split(torch.from_numpy(images), torch.from_numpy(labels))


def _labels(index: np.ndarray, stream: int) -> np.ndarray:
    """The classes in blocks of ten, each block in an order of its own."""
    blocks = np.arange(len(index) // 10 + 1)
    dice = Dice(~stream, blocks)
    keys = np.stack([dice.uniform(0, 1).ravel() for _ in range(10)], axis=1)
    return keys.argsort(axis=1, kind="stable").ravel()[: len(index)].astype(np.int64)
