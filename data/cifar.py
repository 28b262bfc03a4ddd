"""CIFAR-10 (Krizhevsky, 2009) and its dogs, cats and birds: located or downloaded, and verified."""

import hashlib
import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from common.errors import InputError
from data.download import cache_folder, find_or_download
from data.images import Request, Source, Split

NAME = "cifar10"
BATCHES = "cifar-10-batches-py"
CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
DOG_CAT_BIRD = ("bird", "cat", "dog")
VALIDATION_SHARE = 5  # of each class, the last fifth of the training images: 1,000 of 5,000

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"  # of the archive
# File, images, MD5 (the checksums that torchvision.datasets.CIFAR10 uses).
TRAIN_FILES = (
    ("data_batch_1", 10_000, "c99cafc152244af753f735de768cd75f"),
    ("data_batch_2", 10_000, "d4bba439e000b95fd0a9bffe97cbabec"),
    ("data_batch_3", 10_000, "54ebc095f3ab1f0389bbae665268c751"),
    ("data_batch_4", 10_000, "634d18415352ddfa80567beed471001a"),
    ("data_batch_5", 10_000, "482c414d41f54cd18b22e5b47cb7c3cb"),
)
TEST_FILES = (("test_batch", 10_000, "40351d587109b95175f43aff81a1287e"),)


def load(request: Request) -> Source:
    """All ten classes: 40,000 training, 10,000 validation and 10,000 official test images.

    Validation holds the last 1,000 training images of each class. Looks in ``request.root``
    (torchvision's layout, or the batch files directly in it) and in the cache, then downloads
    into the cache if allowed. Raises ``NotFoundError`` if the data set cannot be obtained,
    ``InputError`` naming the file if one is missing, truncated or altered.
    """
    cached = cache_folder() / NAME
    given = [request.root / BATCHES, request.root] if request.root else []
    folder = find_or_download(
        "CIFAR-10",
        [*given, cached / BATCHES],
        [name for name, *_ in (*TRAIN_FILES, *TEST_FILES)],
        {URL: f"md5:{MD5}"},
        into=cached,
        may_download=request.may_download,
        hint="--data dog-cat-bird downloads it once, about 170 MB",
        advice="Unpack cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html "
        "and name its folder with --data-root",
    )
    test = _read_files(folder, TEST_FILES)
    whole = _read_files(folder, TRAIN_FILES)
    held_out = torch.zeros(len(whole.labels), dtype=torch.bool)
    for label in whole.labels.unique():
        of_class = (whole.labels == label).nonzero().squeeze(1)
        held_out[of_class[len(of_class) - len(of_class) // VALIDATION_SHARE :]] = True
    return Source(
        name=NAME,
        train=Split(whole.images[~held_out], whole.labels[~held_out]),
        val=Split(whole.images[held_out], whole.labels[held_out]),
        test=test,
        class_names=CLASS_NAMES,
        source=str(folder),
    )


def load_dog_cat_bird(request: Request) -> Source:
    """The three classes alone: 4,000 per class for training, 1,000 for validation and for test."""
    full = load(request)
    wanted = torch.tensor([CLASS_NAMES.index(name) for name in DOG_CAT_BIRD])

    def select(split: Split) -> Split:
        chosen = torch.isin(split.labels, wanted)
        # ``wanted`` is sorted, so the position of a label in it is its new label.
        return Split(split.images[chosen], torch.searchsorted(wanted, split.labels[chosen]))

    return replace(
        full,
        name="dog-cat-bird",
        train=select(full.train),
        val=select(full.val),
        test=full.test and select(full.test),
        class_names=DOG_CAT_BIRD,
    )


def _read_files(folder: Path, files: Sequence[tuple[str, int, str]]) -> Split:
    parts = [_read_file(folder / name, count, md5) for name, count, md5 in files]
    images, labels = map(np.concatenate, zip(*parts, strict=True))
    return Split(torch.from_numpy(images), torch.from_numpy(labels))


def _read_file(path: Path, count: int, md5: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} of CIFAR-10 cannot be read: {error.strerror}.") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise InputError(f"{path} is truncated or altered: its MD5 is not CIFAR-10's {md5}.")
    try:
        entry = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        images = np.asarray(entry["data"], dtype=np.uint8).reshape(count, 3, 32, 32)
        labels = np.asarray(entry["labels"], dtype=np.int64).reshape(count)
    except (pickle.UnpicklingError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not a batch of CIFAR-10: {error}.") from error
    return images, labels


class _ArraysOnly(pickle.Unpickler):
    """Unpickles lists, numbers, strings and numpy arrays only; refuses every other global.

    A file can be crafted to match an MD5, so the checksum alone does not prevent code execution.
    """

    def find_class(self, module: str, name: str) -> object:
        if module.startswith("numpy") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")
