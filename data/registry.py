"""One door to every image source: a name or a folder in, checked images and labels out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from common.errors import InputError
from data import cifar, fashion_mnist, folder, garments
from data.images import (
    NotFoundError,
    Source,
    Split,
    content_checksum,
    resize_nearest,
    with_channels,
)
from data.names import check_data


@dataclass(frozen=True)
class ImageData:
    """Images ready to train on; all on the CPU, contiguous, of one size."""

    name: str  # 'fashion-mnist', 'garments', 'dog-cat-bird', 'cifar10' or 'folder'
    train_images: Tensor  # uint8 [n c h w]
    train_labels: Tensor  # int64 [n]
    val_images: Tensor
    val_labels: Tensor
    test_images: Tensor | None
    test_labels: Tensor | None
    class_names: tuple[str, ...]
    checksum: str  # SHA-256 over the images and labels in use, before any enlarging
    source: str  # the folder read, or how it was drawn
    stand_in_reason: str | None  # why 'auto' fell back to garments; None otherwise
    skipped: int  # files of a folder passed over: not images, unreadable, or too large


def load_data(
    name: str,
    *,
    root: Path | None,
    size: tuple[int, int],
    train_images: int | None,
    val_images: int | None,
    channels: int | None = None,
    auto: str = "fashion-mnist",
) -> ImageData:
    """The data set ``name`` (one of ``NAMES``, or a folder) at ``size`` (height, width).

    ``train_images`` and ``val_images`` take the first so many: in the order of the file
    (Fashion-MNIST, CIFAR-10), of drawing (garments), or of a hash of each file's path (folder).
    None takes all, and of garments 6,000 and 1,000. ``channels`` 1 or 3 converts; None keeps.
    Fashion-MNIST and CIFAR-10 are brought to ``size`` by nearest neighbour, garments are drawn at
    it, a folder's images are fitted into it (see ``folder.read``).
    ``'auto'`` is the data set named by ``auto`` where its files lie on this machine, else
    garments, in colour in place of a colour set; it never downloads. Raises
    ``InputError`` for whatever the user can mend.
    """
    check_data(name, size, root)
    for option, count in (("--train-images", train_images), ("--val-images", val_images)):
        if count is not None and count < 1:
            raise InputError(f"{option} {count}: at least 1 image is needed, for example 1000.")
    reason = None
    wanted = auto if name == "auto" else name
    limits = (train_images, val_images)
    try:
        source = _read(wanted, root, size, limits, channels, may_download=name != "auto")
    except NotFoundError as error:
        if name != "auto":
            raise
        reason = str(error)
        channels = channels or (1 if auto == "fashion-mnist" else 3)
        source = _read("garments", root, size, limits, channels)
    return _finish(source, size, limits, channels, reason)


def require_classes(data: ImageData) -> None:
    """Raise ``InputError`` unless ``data`` can train a classifier: two classes, none empty."""
    if len(data.class_names) < 2:
        raise InputError(
            f"{data.source} holds one class only; a classifier needs a subfolder of images for "
            "each class, for example photos/cat and photos/dog."
        )
    for split, labels in (("training", data.train_labels), ("validation", data.val_labels)):
        counts = labels.bincount(minlength=len(data.class_names)).tolist()
        empty = [c for c, count in zip(data.class_names, counts, strict=True) if not count]
        if empty:
            raise InputError(
                f"{data.source}: class {empty[0]!r} has no {split} images among the "
                f"{len(labels):,} in use; give every class at least two images, or raise "
                "--train-images and --val-images."
            )


def _read(
    name: str,
    root: Path | None,
    size: tuple[int, int],
    limits: tuple[int | None, int | None],
    channels: int | None,
    may_download: bool = False,
) -> Source:
    readers: dict[str, Callable[[], Source]] = {
        "fashion-mnist": lambda: fashion_mnist.read(root, may_download=may_download),
        "garments": lambda: garments.draw(size, *limits, channels=channels or 1),
        "cifar10": lambda: cifar.read(root, may_download=may_download),
        "dog-cat-bird": lambda: cifar.read_dog_cat_bird(root, may_download=may_download),
    }
    if name in readers:
        return readers[name]()
    return folder.read(Path(os.path.expanduser(name)), size, *limits, channels=channels)


def _finish(
    source: Source,
    size: tuple[int, int],
    limits: tuple[int | None, int | None],
    channels: int | None,
    reason: str | None,
) -> ImageData:
    train = _first(source, source.train, limits[0], "--train-images", "training")
    val = _first(source, source.val, limits[1], "--val-images", "validation")
    used = [train, val, source.test]
    checksum = content_checksum(used)
    train, val, test = (s if s is None else _fit(s, size, channels) for s in used)
    return ImageData(
        name=source.name,
        train_images=train.images,
        train_labels=train.labels,
        val_images=val.images,
        val_labels=val.labels,
        test_images=None if test is None else test.images,
        test_labels=None if test is None else test.labels,
        class_names=source.class_names,
        checksum=checksum,
        source=source.source,
        stand_in_reason=reason,
        skipped=source.skipped,
    )


def _first(source: Source, split: Split, count: int | None, option: str, kind: str) -> Split:
    if count is None:
        return split
    if count > len(split):
        raise InputError(
            f"{option} {count:,}: {source.name} has {len(split):,} {kind} images "
            f"({source.source}); ask for at most so many, or leave {option} out for all."
        )
    return Split(split.images[:count], split.labels[:count])


def _fit(split: Split, size: tuple[int, int], channels: int | None) -> Split:
    images = resize_nearest(split.images, size)
    return Split(with_channels(images, channels or images.shape[1]).contiguous(), split.labels)
