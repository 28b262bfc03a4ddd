"""Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747): located or downloaded, and verified."""

import hashlib
import math
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from common.errors import InputError
from data.download import cache_folder, find_or_download
from data.images import Request, Source, Split

NAME = "fashion-mnist"
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
CLASS_NAMES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


class IdxFile(NamedTuple):
    name: str
    shape: tuple[int, ...]
    sha256: str  # of the uncompressed bytes: the gz files differ between distributors
    md5: str = ""  # of the gz file at URL


URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FILES = (
    IdxFile(
        "train-images-idx3-ubyte", (60_000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    ),
    IdxFile(
        "train-labels-idx1-ubyte", (60_000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "25c81989df183df01b3e8a0aad5dffbe",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte", (10_000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "bef4ecab320f06d8554ea6380940ec79",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte", (10_000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)  # fmt: skip


def load(request: Request) -> Source:
    """The 60,000 training images, and the 10,000 test images for validation (as published).

    Looks in ``request.root`` (torchvision's layout, or the four files directly in it), in the
    Debian package's folder and in the cache, then downloads into the cache if allowed. Raises
    ``NotFoundError`` if the data set cannot be obtained, ``InputError`` naming the file if one is
    missing from its folder, truncated or altered.
    """
    cached = cache_folder() / NAME / "FashionMNIST" / "raw"
    given = [request.root / "FashionMNIST" / "raw", request.root] if request.root else []
    folder = find_or_download(
        "Fashion-MNIST",
        [*given, SYSTEM_FOLDER, cached],
        [name for file in FILES for name in (file.name, f"{file.name}.gz")],
        {f"{URL}{file.name}.gz": f"md5:{file.md5}" for file in FILES},
        into=cached,
        may_download=request.may_download,
        hint="--data fashion-mnist downloads it once, about 30 MB",
        advice="Get it with 'apt install dataset-fashion-mnist', or name the folder of its four "
        "files with --data-root",
    )
    # Decompressing and hashing release the interpreter lock: the small files take no extra time.
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


def _read_idx(folder: Path, file: IdxFile) -> Tensor:
    paths = (folder / file.name, folder / f"{file.name}.gz")
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise InputError(f"{folder} holds other files of Fashion-MNIST but not {file.name}(.gz).")
    header = 4 + 4 * len(file.shape)  # bytes: a magic number, then each side
    data = _content(path, limit=header + math.prod(file.shape) + 1)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise InputError(
            f"{path} is truncated or altered: its SHA-256 (unpacked) is not Fashion-MNIST's "
            f"{file.sha256}."
        )
    return torch.frombuffer(data, dtype=torch.uint8, offset=header).view(file.shape)


def _content(path: Path, limit: int) -> bytearray:
    """At most ``limit`` bytes of ``path``, decompressed."""
    try:
        with open(path, "rb") as opened:
            if path.suffix != ".gz":
                return bytearray(opened.read(limit))
            unzip = zlib.decompressobj(wbits=31)
            return bytearray(unzip.decompress(opened.read(), limit))
    except (OSError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
