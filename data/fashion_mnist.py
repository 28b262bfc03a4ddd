"""Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747): found or downloaded, and verified."""

from __future__ import annotations

import hashlib
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError
from data.download import cache_folder, download
from data.images import NotFoundError, Source, Split

NAME = "fashion-mnist"
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
CLASS_NAMES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


class IdxFile(NamedTuple):
    name: str
    shape: tuple[int, ...]
    sha256: str  # of the uncompressed bytes: the gz files differ from one packager to the next


FILES = (
    IdxFile(
        "train-images-idx3-ubyte", (60_000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    IdxFile(
        "train-labels-idx1-ubyte", (60_000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte", (10_000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte", (10_000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)  # fmt: skip


def read(root: Path | None, *, may_download: bool = True) -> Source:
    """The 60,000 training images, and the 10,000 test images as validation (as in the logbook).

    Looks in ``root`` (torchvision's layout, or the four files directly in it), then in the Debian
    package's folder, then in the cache, and (``may_download``) downloads into the cache. Raises
    ``NotFoundError`` when it is nowhere to be had, ``InputError`` naming the file when one is
    missing from its folder, truncated or altered.
    """
    folder = _find(root, may_download)
    # Inflating and hashing release the interpreter lock: the small files cost nothing more.
    with ThreadPoolExecutor(2) as pool:
        images, labels, val_images, val_labels = pool.map(lambda f: _read_idx(folder, f), FILES)
    return Source(
        name=NAME,
        train=Split(images.unsqueeze(1), labels.long()),
        val=Split(val_images.unsqueeze(1), val_labels.long()),
        test=None,
        class_names=CLASS_NAMES,
        source=str(folder),
    )


def _find(root: Path | None, may_download: bool) -> Path:
    cached = cache_folder() / NAME
    places = [] if root is None else [root / "FashionMNIST" / "raw", root]
    places += [SYSTEM_FOLDER, cached / "FashionMNIST" / "raw"]
    for place in places:
        if any(_path(place, file) for file in FILES):
            return place
    if not may_download:
        raise NotFoundError(
            f"Fashion-MNIST is not in {', '.join(map(str, places))} (--data fashion-mnist "
            "downloads it once, about 30 MB)."
        )
    try:
        _download(cached)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise NotFoundError(
            f"Fashion-MNIST is not in {', '.join(map(str, places))}, and the download failed "
            f"({reason}). Get it with 'apt install dataset-fashion-mnist', or name the folder of "
            "its four files with --data-root, or use the built-in --data garments."
        ) from error
    return places[-1]


def _download(folder: Path) -> None:
    from torchvision.datasets import FashionMNIST  # heavy, and needed only here

    url = FashionMNIST.mirrors[0] + FashionMNIST.resources[0][0]
    download(folder, url, lambda part: FashionMNIST(str(part), download=True))


def _path(folder: Path, file: IdxFile) -> Path | None:
    """The unpacked file, else the packed one, else None."""
    for path in (folder / file.name, folder / f"{file.name}.gz"):
        if path.is_file():
            return path
    return None


def _read_idx(folder: Path, file: IdxFile) -> Tensor:
    path = _path(folder, file)
    if path is None:
        raise InputError(f"{folder} holds other files of Fashion-MNIST, but no {file.name}(.gz).")
    header = b"\0\0\x08" + bytes([len(file.shape)]) + np.array(file.shape, dtype=">u4").tobytes()
    size = len(header) + int(np.prod(file.shape))
    data = _content(path, limit=size + 1)
    if len(data) != size or not data.startswith(header):
        raise InputError(
            f"{path} is truncated or no idx file of Fashion-MNIST: {size:,} bytes for "
            f"{'x'.join(map(str, file.shape))} are needed, {len(data):,} were read."
        )
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise InputError(
            f"{path} was altered: its SHA-256 (unpacked) is not Fashion-MNIST's {file.sha256}."
        )
    values = torch.frombuffer(data, dtype=torch.uint8, offset=len(header))
    return values.view(file.shape)


def _content(path: Path, limit: int) -> bytearray:
    """The bytes of ``path``, unpacked, and no more than ``limit`` of them."""
    try:
        with open(path, "rb") as opened:
            if path.suffix != ".gz":
                return bytearray(opened.read(limit))
            unzip = zlib.decompressobj(wbits=31)
            return bytearray(unzip.decompress(opened.read(), limit))
    except (OSError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
