"""Load any data set, by name or by folder."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import InputError
from data.images import (
    ImageData,
    NotFoundError,
    Request,
    Source,
    Split,
    content_checksum,
    resize_nearest,
    shared_images,
    with_channels,
)
from data.registry import check_data, load_source
from data.settings import DataSettings

GREY_DATA_SETS = ("fashion-mnist",)
NEARLY_BLACK = 20  # of 255
SHOWN = 5  # images in a remark


def load_data(
    settings: DataSettings, *, channels: int | None = None, auto: str = "fashion-mnist"
) -> ImageData:
    """The data set of ``settings`` at their size: by nearest neighbour, or as ``folder`` fits it.

    ``train_images`` and ``val_images`` select the first images: in the order of the file, or for a
    folder in the order of a hash of each file's name. ``holdout`` replaces the validation images
    before that selection, and leaves out the test images. ``channels`` 1 or 3 converts to grey or
    RGB; None keeps what the data set has.

    ``'auto'`` is the data set ``auto`` if its files are on this machine, else the synthetic
    fallback ``garments`` (in colour if ``auto`` is); it never downloads. Raises ``InputError``.
    """
    name, size = settings.data, settings.height_width
    train_images, val_images = settings.train_images, settings.val_images
    root = Path(os.path.expanduser(settings.data_root)) if settings.data_root else None
    check_data(name, size, root)
    for option, count in (("--train-images", train_images), ("--val-images", val_images)):
        if count is not None and count < 1:
            raise InputError(f"{option} {count}: at least 1 image is needed, for example 1000.")
    request = Request(
        name=auto if name == "auto" else name,
        root=root,
        size=size,
        # What is held out are the last of all training images, so all of them are read.
        train_images=None if settings.holdout else train_images,
        val_images=None if settings.holdout else val_images,
        channels=channels,
        may_download=name != "auto",
    )
    source, reason = _load_or_garments(request, auto=name == "auto")
    if settings.holdout:
        source = _hold_out(source, settings.holdout)
    if reason:  # the numbers were meant for another data set
        train_images = train_images and min(train_images, len(source.train))
        val_images = val_images and min(val_images, len(source.val))
    train = _first(source, source.train, train_images, "--train-images", "training")
    val = _first(source, source.val, val_images, "--val-images", "validation")
    splits = {"train": train, "val": val} | ({"test": source.test} if source.test else {})
    fitted = {kind: _fit(split, size, channels) for kind, split in splits.items()}
    fields: dict[str, Any] = vars(source) | fitted
    fields["remarks"] = (*source.remarks, *_warnings(train), *_copies(**fitted))
    checksum = content_checksum(splits.values())
    return ImageData(**fields, checksum=checksum, fallback_reason=reason)


def _load_or_garments(request: Request, *, auto: bool) -> tuple[Source, str | None]:
    """The images asked for; with ``auto`` garments where their files are missing, and why."""
    try:
        return load_source(request), None
    except NotFoundError as error:
        if not auto:
            raise
        channels = request.channels or (1 if request.name in GREY_DATA_SETS else 3)
        return load_source(replace(request, name="garments", channels=channels)), str(error)


def _hold_out(source: Source, count: int) -> Source:
    """``source`` with its last ``count`` training images in place of the validation images."""
    whole = source.train
    if count > len(whole) - 2:
        example = max(1, len(whole) // 6)
        raise InputError(
            f"--holdout {count:,}: {source.name} has {len(whole):,} training images "
            f"({source.source}) and two must be left, for example --holdout {example}"
        )
    train, val = whole.part(slice(-count)), whole.part(slice(-count, None))
    return replace(source, train=train, val=val, test=None)


def require_classes(data: ImageData) -> None:
    """Raise ``InputError`` unless ``data`` has two classes or more, none of them empty."""
    if len(data.class_names) < 2:
        raise InputError(
            f"{data.source} holds one class only; a classifier needs a subfolder of images for "
            "each class, for example photos/cat and photos/dog."
        )
    for kind, split in (("training", data.train), ("validation", data.val)):
        counts = split.labels.bincount(minlength=len(data.class_names)).tolist()
        empty = [c for c, count in zip(data.class_names, counts, strict=True) if not count]
        if empty:
            raise InputError(
                f"{data.source}: class {empty[0]!r} has no {kind} images among the "
                f"{len(split):,} in use; give every class at least two images, or raise "
                "--train-images and --val-images."
            )


def _warnings(train: Split) -> Iterator[str]:
    """Remarks on training images from which a net cannot learn."""
    images, brightest = train.images, int(train.images.max())
    if len(images) > 1 and bool((images[:2] == images[0]).all() and (images == images[0]).all()):
        yield "all training images are the same picture"
    elif brightest < NEARLY_BLACK:
        yield f"the training images are nearly black: no value is above {brightest} of 255"


def _copies(train: Split, val: Split, test: Split | None = None) -> Iterator[str]:
    """Remarks on validation and test images that are training images too, by name or number."""
    for kind, split in {"validation": val, "test": test}.items():
        if split and (shared := shared_images(train, split)):
            pairs = [
                f"{split.names[n] if split.names else n} is training image "
                f"{train.names[index] if train.names else index}"
                for n, index in shared[:SHOWN]
            ]
            more = f" and {len(shared) - SHOWN:,} more" if len(shared) > SHOWN else ""
            yield (
                f"{len(shared):,} of {len(split):,} {kind} images are also training images, byte "
                f"for byte: {kind} figures look better than they are ({kind} image "
                f"{', '.join(pairs)}{more})"
            )


def _first(source: Source, split: Split, count: int | None, option: str, kind: str) -> Split:
    if count is not None and count > len(split):
        raise InputError(
            f"{option} {count:,}: {source.name} has {len(split):,} {kind} images "
            f"({source.source}); ask for at most so many, or leave {option} out for all."
        )
    return split.part(slice(count))


def _fit(split: Split, size: tuple[int, int], channels: int | None) -> Split:
    images = resize_nearest(split.images, size)
    images = with_channels(images, channels or images.shape[1])
    return replace(split, images=images.contiguous())
