"""Synthetic garments in ten classes like Fashion-MNIST's: no network, no other files.

The fallback where the real images cannot be had. Stripes, checks, chevrons, dots or gradients run
through each garment, so restoring an erased half requires their phase from the other half.

``garments.png`` holds all images of 28x28 pixels, 70 to a row, and their labels as a text.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.fashion_mnist import CLASS_NAMES
from data.images import Request, Source, Split

FILE = Path(__file__).with_name("garments.png")
SIDE = 28
TRAIN_IMAGES = 6_000


def load(request: Request) -> Source:
    """6,000 training and 1,000 validation images, grey, or tinted if RGB is requested.

    Every ten consecutive images show the ten classes once each.
    """
    with Image.open(FILE) as sheet:
        labels = torch.tensor([int(digit) for digit in sheet.info["labels"]])
        pixels = np.asarray(sheet)
    rows, columns = (side // SIDE for side in pixels.shape)
    pixels = pixels.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).reshape(-1, 1, SIDE, SIDE)
    if request.channels == 3:
        pixels = _tinted(pixels)
    whole = Split(torch.from_numpy(np.ascontiguousarray(pixels)), labels)
    return Source(
        name="garments",
        train=whole.part(slice(TRAIN_IMAGES)),
        val=whole.part(slice(TRAIN_IMAGES, None)),
        test=None,
        class_names=CLASS_NAMES,
        source="synthetic images built into the program"
        + (", grey drawings each tinted with one colour" if request.channels == 3 else ""),
    )


def _tinted(grey: np.ndarray) -> np.ndarray:
    """Multiply each image [1 h w] by a colour of its own, the same one in every run.

    The colour is independent of the class, so colour alone does not tell the classes apart.
    """
    numbers = np.arange(len(grey), dtype=np.uint64)[:, None] * 3 + np.arange(3, dtype=np.uint64)
    hashed = (numbers + 1) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing, modulo 2**64
    colours = 96 + (hashed >> np.uint64(40)) % 160  # 96 to 255 per channel
    return (grey * colours[:, :, None, None] // 255).astype(np.uint8)
