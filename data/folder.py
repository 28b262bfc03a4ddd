"""A user's own images: class subfolders, a flat folder, or ImageFolder's train/ val/ test/.

* Classes are the subfolders, unless images lie directly in the folder: then there is one.
  With ``train/`` beside ``val/`` or ``test/`` these are the splits, each with class folders;
  a ``test/`` without them has no labels and is left alone.
* Without ``val/``, one training image in ten is held out by a hash of its path: adding files
  moves no other file, and each class of two images or more keeps some on both sides.
* Each image is scaled to cover ``size`` and cut to it at its centre: bilinear with
  antialiasing when shrinking, nearest neighbour when enlarging. Transparent becomes black.
* One coloured image makes all RGB, grey ones repeated; ``channels`` 1 or 3 overrules.
* Passed over and counted: other files, unreadable ones, ones above ``MAX_PIXELS``, links that
  lead out of the folder, linked folders (which could run in circles), hidden files.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from common.errors import InputError
from data.images import Request, Source, Split, check_memory

# Formats whose decoders run no other program (EPS would call Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
}  # fmt: skip
MAX_PIXELS = 64_000_000
VALIDATION_SHARE = 10  # one image in ten
VALIDATION_NAMES = ("val", "valid", "validation")
THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class _File:
    path: Path
    label: int
    rank: int  # a hash of the path inside its split: the fixed order, and the held-out draw


@dataclass
class _Reader:
    """Decodes files to one size, counting what it passes over."""

    size: tuple[int, int]
    channels: int | None
    skipped: int = 0
    grey: int = 0
    colour: int = 0

    def decode(self, files: list[_File], limit: int | None) -> tuple[list[np.ndarray], list[int]]:
        """The first ``limit`` readable images of ``files``, ``[h w]`` or ``[h w 3]``; labels."""
        wanted = len(files) if limit is None else min(limit, len(files))
        check_memory(wanted, self.channels or 3, self.size)
        images: list[np.ndarray] = []
        labels: list[int] = []
        rest = iter(files)
        with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of files counted or read all the same
            while chunk := list(islice(rest, min(256, wanted - len(images)))):
                for file, image in zip(chunk, pool.map(self._open, chunk), strict=True):
                    if image is None:
                        self.skipped += 1
                    else:
                        images.append(image)
                        labels.append(file.label)
        colour = sum(image.ndim == 3 for image in images)
        self.colour += colour
        self.grey += len(images) - colour
        return images, labels

    def _open(self, file: _File) -> np.ndarray | None:
        try:
            return _read_image(file.path, self.size, self.channels)
        # Decoders of damaged files raise nearly anything; the file is counted, not hidden.
        except Exception:
            return None

    def stack(self, images: list[np.ndarray], labels: list[int]) -> Split:
        channels = self.channels or (3 if self.colour else 1)
        out = np.empty((len(images), channels, *self.size), dtype=np.uint8)
        for slot, image in zip(out, images, strict=True):
            slot[:] = image if image.ndim == 2 else image.transpose(2, 0, 1)
        return Split(torch.from_numpy(out), torch.tensor(labels, dtype=torch.int64))


def load(request: Request) -> Source:
    """The images below a folder at ``size`` (height, width), in the order of their paths' hashes.

    See the top of this file for the rules. Raises ``InputError`` where no images are left
    for training or for validation.
    """
    root = Path(request.name).expanduser().resolve()
    channels = request.channels
    reader = _Reader(request.size, channels)
    try:
        train, val, test, class_names = _layout(root, reader)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from error
    parts = {
        "training": reader.decode(train, request.train_images),
        "validation": reader.decode(val, request.val_images),
        "test": reader.decode(test, None),
    }
    for kind in ("training", "validation"):
        if not parts[kind][0]:
            raise InputError(
                f"{root} holds no readable images for {kind} ({reader.skipped:,} files were passed "
                "over); at least two PNG, JPEG, BMP, GIF, WEBP, TIFF or PPM images of a class are "
                "needed."
            )
    splits = {kind: reader.stack(*part) for kind, part in parts.items()}
    remarks = []
    if not channels and reader.grey and reader.colour:
        remarks.append(f"{reader.grey:,} grey images repeated as RGB beside {reader.colour:,} in colour")
    # W&B's artifact names allow no other characters.
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", root.name)[:60]
    return Source(
        name=f"folder-{plain}".rstrip("-"),
        train=splits["training"],
        val=splits["validation"],
        test=splits["test"] if parts["test"][0] else None,
        class_names=class_names,
        source=str(root),
        skipped=reader.skipped,
        remarks=tuple(remarks),
    )


def read_unlabelled(
    root: Path, size: tuple[int, int], *, channels: int
) -> tuple[list[str], Tensor, int]:
    """Every image below ``root``: paths relative to it in order, uint8 [n c h w], files skipped.

    Read and passed over as in ``read``. Raises ``InputError`` where no image is left.
    """
    root = root.expanduser().resolve()
    if not root.is_dir():
        raise InputError(f"{root} is no folder: name one that holds images, for example photos.")
    reader = _Reader(size, channels)
    paths = sorted(_walk(root, reader))
    images, kept = reader.decode([_File(path, i, 0) for i, path in enumerate(paths)], None)
    if not images:
        raise InputError(
            f"{root} holds no readable images ({reader.skipped:,} files were passed over); at "
            "least one PNG, JPEG, BMP, GIF, WEBP, TIFF or PPM image is needed."
        )
    names = [paths[i].relative_to(root).as_posix() for i in kept]
    return names, reader.stack(images, kept).images, reader.skipped


def _layout(
    root: Path, reader: _Reader
) -> tuple[list[_File], list[_File], list[_File], tuple[str, ...]]:
    """Files for training, validation and test, and the class names."""
    train_folder, test_folder = _subfolder(root, "train"), _subfolder(root, "test")
    val_folder = next(filter(None, (_subfolder(root, name) for name in VALIDATION_NAMES)), None)
    if not train_folder or not (val_folder or test_folder):
        class_names = _class_names(root)
        return *_hold_out(_files(root, class_names, reader)), [], class_names
    class_names = _class_names(train_folder)
    train = _files(train_folder, class_names, reader)
    unlabelled = test_folder and len(class_names) > 1 and _is_flat(test_folder)
    test = _files(test_folder, class_names, reader) if test_folder and not unlabelled else []
    if val_folder:
        return train, _files(val_folder, class_names, reader), test, class_names
    return *_hold_out(train), test, class_names


def _subfolder(root: Path, name: str) -> Path | None:
    path = root / name
    return path if path.is_dir() and not path.is_symlink() else None


def _is_flat(folder: Path) -> bool:
    return any(e.is_file() and _is_named_image(e.name) for e in os.scandir(folder))


def _is_named_image(name: str) -> bool:
    return name[0] != "." and Path(name).suffix.lower() in SUFFIXES


def _class_names(folder: Path) -> tuple[str, ...]:
    """The subfolders' names; with images directly in the folder, or no subfolders, its own."""
    folders = [e.name for e in os.scandir(folder) if e.is_dir(follow_symlinks=False)]
    names = sorted(name for name in folders if not name.startswith((".", "__")))
    return (folder.name,) if _is_flat(folder) or not names else tuple(names)


def _files(folder: Path, class_names: tuple[str, ...], reader: _Reader) -> list[_File]:
    """The image files of one split, in the order of their hashes."""
    found = []
    for path in _walk(folder, reader):
        relative = path.relative_to(folder)
        name = relative.parts[0] if len(class_names) > 1 else class_names[0]
        if name not in class_names:
            raise InputError(
                f"{folder}: {name!r} is none of the classes of the training images "
                f"({', '.join(class_names)}); give each class a subfolder there too."
            )
        digest = hashlib.sha256(relative.as_posix().encode("utf-8", "surrogateescape")).digest()
        found.append(_File(path, class_names.index(name), int.from_bytes(digest[:8], "big")))
    return sorted(found, key=_order)


def _walk(folder: Path, reader: _Reader) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=False):
        linked = [n for n in folders if os.path.islink(os.path.join(parent, n))]
        reader.skipped += len(linked)
        folders[:] = sorted(n for n in folders if not n.startswith((".", "__")))
        for name in names:
            path = Path(parent, name)
            inside = not path.is_symlink() or path.resolve().is_relative_to(folder)
            # is_file: a pipe or a device named like an image would block for ever.
            if _is_named_image(name) and inside and path.is_file():
                yield path
            else:
                reader.skipped += 1


def _order(file: _File) -> tuple[int, str]:
    return file.rank, str(file.path)


def _raise(error: OSError) -> None:
    raise error


def _hold_out(files: list[_File]) -> tuple[list[_File], list[_File]]:
    """One file in ten by its hash for validation; some of each class on both sides."""
    train: list[_File] = []
    val: list[_File] = []
    by_class: dict[int, list[_File]] = {}
    for file in files:
        by_class.setdefault(file.label, []).append(file)
    for group in by_class.values():
        held = [file for file in group if file.rank % VALIDATION_SHARE == 0]
        if len(group) > 1:
            held = held or group[:1]
            held = held[: len(group) - 1]
        chosen = set(held)
        val += held
        train += [file for file in group if file not in chosen]
    return sorted(train, key=_order), sorted(val, key=_order)


def _read_image(path: Path, size: tuple[int, int], channels: int | None) -> np.ndarray:
    """One image as ``[h w]`` or ``[h w 3]``. Raises on anything that is no proper image."""
    height, width = size
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{path} has more than {MAX_PIXELS:,} pixels")
        # Lets the JPEG decoder shrink by 2, 4 or 8 while it reads; other formats ignore it.
        image.draft(None, (2 * max(size), 2 * max(size)))
        picture = _plain(ImageOps.exif_transpose(image))
    if channels is not None:
        picture = picture.convert("L" if channels == 1 else "RGB")
    shrinking = picture.width > width and picture.height > height
    method = Image.Resampling.BILINEAR if shrinking else Image.Resampling.NEAREST
    return np.asarray(ImageOps.fit(picture, (width, height), method=method))


def open_plain(path: Path) -> Image.Image:
    """The image in a file at its own size, upright, "L" or "RGB". Raises on anything improper."""
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"more than {MAX_PIXELS:,} pixels")
        return _plain(ImageOps.exif_transpose(image))


def _plain(image: Image.Image) -> Image.Image:
    """8-bit grey ("L") or "RGB": 16-bit grey by its high byte, transparency over black."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype("u1"))
    if image.mode == "F":
        raise ValueError("floating-point images have no set range")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        grey = image.mode in ("LA", "La", "L")
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, rgba).convert("L" if grey else "RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
