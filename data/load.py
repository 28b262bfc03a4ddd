"""Load any data set, by name or by folder."""

from dataclasses import replace
from pathlib import Path

from common.errors import InputError
from data.images import (
    ImageData,
    NotFoundError,
    Request,
    Source,
    Split,
    content_checksum,
    resize_nearest,
    with_channels,
)
from data.registry import check_data, load_source
from data.settings import DataSettings

GREY_DATA_SETS = ("fashion-mnist",)
NEARLY_BLACK = 20  # of 255


def load_data(
    name: str,
    *,
    root: Path | None = None,
    size: tuple[int, int],
    train_images: int | None = None,
    val_images: int | None = None,
    holdout: int | None = None,
    channels: int | None = None,
    auto: str = "fashion-mnist",
) -> ImageData:
    """The data set ``name`` (one of ``registry.names()``, or a folder) at ``size``.

    ``train_images`` and ``val_images`` select the first N images: in the order of the file, or
    for a folder in the order of a hash of each file's name; None selects all. ``holdout`` replaces
    the validation images by the last N training images, before that selection. ``channels`` 1 or 3
    converts to grey or RGB; None keeps what the data set has. Images are resized by nearest
    neighbour; a folder's images are fitted into ``size`` (see ``folder.load``).

    ``'auto'`` is the data set ``auto`` if its files are on this machine, else the synthetic
    fallback ``garments`` (in colour if ``auto`` is); it never downloads. Raises ``InputError``.
    """
    check_data(name, size, root)
    for option, count in (("--train-images", train_images), ("--val-images", val_images)):
        if count is not None and count < 1:
            raise InputError(f"{option} {count}: at least 1 image is needed, for example 1000.")
    request = Request(
        name=auto if name == "auto" else name,
        root=root,
        size=size,
        train_images=train_images,
        val_images=val_images,
        channels=channels,
        may_download=name != "auto",
    )
    # What is held out are the last of all training images, so all of them are read.
    read = replace(request, train_images=None, val_images=None) if holdout else request
    reason = None
    try:
        source = _hold_out(load_source(read), holdout)
    except NotFoundError as error:
        if name != "auto":
            raise
        reason = str(error)
        colour = channels or (1 if auto in GREY_DATA_SETS else 3)
        source = load_source(replace(read, name="garments", channels=colour))
        source = _hold_out(source, holdout)
        request = _at_most(source, request)
    return _select(source, request, reason)


def _hold_out(source: Source, count: int | None) -> Source:
    """``source`` with its last ``count`` training images in place of the validation images."""
    if not count:
        return source
    images, labels = source.train.images, source.train.labels
    if count > len(source.train) - 2:
        raise InputError(
            f"--holdout {count:,}: {source.name} has {len(source.train):,} training images "
            f"({source.source}) and two must be left, for example --holdout {len(images) // 6}"
        )
    train, val = Split(images[:-count], labels[:-count]), Split(images[-count:], labels[-count:])
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


def _at_most(source: Source, request: Request) -> Request:
    """``request`` for no more images than the fallback has: the numbers fitted another set."""
    available = {"train_images": len(source.train), "val_images": len(source.val)}
    wanted = {name: getattr(request, name) for name in available}
    return replace(request, **{k: n and min(n, available[k]) for k, n in wanted.items()})


def _select(source: Source, request: Request, reason: str | None) -> ImageData:
    train = _first(source, source.train, request.train_images, "--train-images", "training")
    val = _first(source, source.val, request.val_images, "--val-images", "validation")
    checksum = content_checksum([train, val, source.test])
    return ImageData(
        name=source.name,
        train=_fit(train, request),
        val=_fit(val, request),
        test=source.test and _fit(source.test, request),
        class_names=source.class_names,
        checksum=checksum,
        source=source.source,
        fallback_reason=reason,
        skipped=source.skipped,
        remarks=source.remarks + _warnings(train),
    )


def _warnings(train: Split) -> tuple[str, ...]:
    """Remarks on training images that cannot teach a net anything."""
    images = train.images
    if len(images) > 1 and bool((images[:2] == images[0]).all() and (images == images[0]).all()):
        return ("all training images are the same picture",)
    brightest = int(images.max()) if len(images) else 255
    if brightest < NEARLY_BLACK:
        return (f"the training images are nearly black: no value is above {brightest} of 255",)
    return ()


def _first(source: Source, split: Split, count: int | None, option: str, kind: str) -> Split:
    if count is None:
        return split
    if count > len(split):
        raise InputError(
            f"{option} {count:,}: {source.name} has {len(split):,} {kind} images "
            f"({source.source}); ask for at most so many, or leave {option} out for all."
        )
    return Split(split.images[:count], split.labels[:count])


def _fit(split: Split, request: Request) -> Split:
    images = resize_nearest(split.images, request.size)
    images = with_channels(images, request.channels or images.shape[1])
    return Split(images.contiguous(), split.labels)


def load_settings(
    settings: DataSettings, *, channels: int | None = None, auto: str = "fashion-mnist"
) -> ImageData:
    """``load_data`` for the options of a command."""
    return load_data(
        settings.data,
        root=Path(settings.data_root).expanduser() if settings.data_root else None,
        size=settings.height_width,
        train_images=settings.train_images,
        val_images=settings.val_images,
        holdout=settings.holdout,
        channels=channels,
        auto=auto,
    )
