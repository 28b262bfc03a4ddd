"""A user's own images, in the layouts that ``layout`` describes.

* Each image is scaled to cover ``size`` and cropped to it at its centre: bilinear with
  antialiasing when shrinking, nearest neighbour when enlarging.
* One colour image makes all RGB, grey ones repeated; ``channels`` 1 or 3 overrides that.
* Values of more than 8 bits are scaled by the range that all images together use.
"""

import os
import re
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from common.errors import InputError
from data.decode import FULL_16_BIT, Levels, grey_or_rgb, levels_of, open_upright
from data.images import Request, Source, Split, check_memory
from data.layout import ImageFile, find_files, find_unlabelled
from data.scan import printable

THREADS = min(4, os.cpu_count() or 1)
NEEDED = "PNG, JPEG, BMP, GIF, WEBP, TIFF or PPM"
Decoded = list[tuple[np.ndarray, ImageFile]]  # images [h w] or [h w 3]


class _Reader:
    """Decodes files to one size; counts those it cannot use beside those ``left_out`` before."""

    def __init__(self, size: tuple[int, int], channels: int | None, left_out: Counter[str]) -> None:
        self.size, self.channels, self.left_out = size, channels, left_out
        self.scales = {int: FULL_16_BIT, float: Levels(0, 1)}
        self.found: dict[type, Levels] = {}  # the range of the values of deep images
        self.unreadable: set[Path] = set()

    def read(self, *parts: tuple[list[ImageFile], int | None]) -> list[Decoded]:
        """The first N readable images of each part."""
        decoded = [self.decode(*part) for part in parts]
        scales = self.scales | {kind: found.scale() for kind, found in self.found.items()}
        if scales != self.scales:
            self.scales = scales
            decoded = [self.decode(*part) for part in parts]
        return decoded

    def decode(self, files: list[ImageFile], limit: int | None) -> Decoded:
        wanted = len(files) if limit is None else min(limit, len(files))
        check_memory(wanted, self.channels or 3, self.size)
        decoded: Decoded = []
        rest = iter(files)
        with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about files that are read or counted
            while chunk := list(islice(rest, min(256, wanted - len(decoded)))):
                for file, result in zip(chunk, pool.map(self.open, chunk), strict=True):
                    if result is None:
                        self.unreadable.add(file.path)
                        continue
                    image, levels = result
                    if levels is not None:
                        kind = type(levels.high)
                        self.found[kind] = self.found.get(kind, levels).merged(levels)
                    decoded.append((image, file))
        return decoded

    def open(self, file: ImageFile) -> tuple[np.ndarray, Levels | None] | None:
        """One fitted image and the range of its values if it is deep; None if unreadable."""
        try:
            image = open_upright(file.path, self.size)
            levels = levels_of(image)
            scale = self.scales[type(levels.high)] if levels else FULL_16_BIT
            return fit(grey_or_rgb(image, scale), self.size, self.channels), levels
        except Exception:  # decoders raise nearly anything for damaged files, which are counted
            return None

    def stack(self, decoded: Decoded, channels: int) -> Split:
        out = np.empty((len(decoded), channels, *self.size), dtype=np.uint8)
        for slot, (image, _) in zip(out, decoded, strict=True):
            slot[:] = image if image.ndim == 2 else image.transpose(2, 0, 1)
        labels = torch.tensor([file.label for _, file in decoded], dtype=torch.int64)
        return Split(torch.from_numpy(out), labels, tuple(file.name for _, file in decoded))

    def unused(self) -> str:
        reasons = self.left_out + Counter({"damaged or too large": len(self.unreadable)})
        return ", ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common(8))

    def remarks(self) -> list[str]:
        """What was not used and how deep values were scaled."""
        remarks = [f"not used: {self.unused()}"] if self.unused() else []
        for kind, found in self.found.items():
            scale = self.scales[kind]
            remarks.append(
                f"grey values {scale.low:,g} to {scale.high:,g} became 0 to 255 (the images hold "
                f"{found.low:,g} to {found.high:,g})"
            )
        return remarks


def load(request: Request) -> Source:
    """The images below the folder ``request.name``, in the order of their paths' hashes.

    Raises ``InputError`` if no images are left for training or for validation.
    """
    root = Path(os.path.realpath(os.path.expanduser(request.name)))
    files = find_files(root)
    reader = _Reader(request.size, request.channels, files.left_out)
    parts = reader.read(
        (files.train, request.train_images), (files.val, request.val_images), (files.test, None)
    )
    for kind, part in zip(("training", "validation"), parts, strict=False):
        if not part:
            raise InputError(
                f"{printable(root)} holds no readable images for {kind} "
                f"(not used: {reader.unused() or 'none'}); at least two {NEEDED} images of a "
                "class are needed."
            )
    grey, colour = (sum(i.ndim == n for part in parts for i, _ in part) for n in (2, 3))
    remarks = files.remarks + reader.remarks()
    if grey and colour:
        remarks.append(f"{grey:,} grey images repeated as RGB beside {colour:,} in colour")
    channels = request.channels or (3 if colour else 1)
    train, val, test = (reader.stack(part, channels) for part in parts)
    # W&B's artifact names allow no other characters.
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", root.name)[:60]
    return Source(
        name=f"folder-{plain}".rstrip("-"),
        train=train,
        val=val,
        test=test if len(test) else None,
        class_names=files.class_names,
        source=printable(root),
        skipped=files.left_out.total() + len(reader.unreadable),
        remarks=tuple(remarks),
    )


def read_unlabelled(
    root: Path, size: tuple[int, int], *, channels: int
) -> tuple[list[str], Tensor, list[str]]:
    """Every image below ``root``: paths relative to it in order, uint8 [n c h w], and remarks.

    Read as in ``load``. Raises ``InputError`` if no image is left.
    """
    root = Path(os.path.realpath(os.path.expanduser(root)))
    if not root.is_dir():
        raise InputError(
            f"{printable(root)} is not a folder: name one that holds images, for example photos."
        )
    files, left_out = find_unlabelled(root)
    reader = _Reader(size, channels, left_out)
    [decoded] = reader.read((files, None))
    split = reader.stack(decoded, channels)
    if not len(split):
        raise InputError(
            f"{printable(root)} holds no readable images (not used: {reader.unused() or 'none'}); "
            f"at least one {NEEDED} image is needed."
        )
    return list(split.names), split.images, reader.remarks()


def fit(image: Image.Image, size: tuple[int, int], channels: int | None) -> np.ndarray:
    """``image`` ("L" or "RGB") at ``size`` (height, width) as ``[h w]`` or ``[h w 3]``."""
    height, width = size
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    shrinking = image.width > width and image.height > height
    method = Image.Resampling.BILINEAR if shrinking else Image.Resampling.NEAREST
    return np.asarray(ImageOps.fit(image, (width, height), method=method))
