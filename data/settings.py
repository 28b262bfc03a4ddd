"""Options of every command that reads a data set."""

from dataclasses import dataclass
from typing import ClassVar

from common.options import Integer, OptionGroup, Size, Text, option
from data.registry import names

MIN_SIZE = 11  # pixels: the window of the SSIM metric


@dataclass(frozen=True, kw_only=True)
class DataSettings(OptionGroup):
    """Which images are read, at which size, and how many of them."""

    section: ClassVar[str] = "Data"

    data: str = option(
        "auto",
        Text(),
        f"Data set: {', '.join(names())}, or a folder of images (see docs/data.md). auto takes the "
        "published data set if its files are on this machine, else garments (synthetic), with a "
        "warning; it never downloads.",
    )
    data_root: str | None = option(
        None,
        Text(optional=True),
        "Folder to look in first for the data set's files (torchvision's layout or the bare "
        "files).",
        identity=False,
    )
    size: int | str = option(
        28,
        Size(MIN_SIZE),
        "Image size in pixels, N or HEIGHTxWIDTH; enlarging is nearest-neighbour.",
    )
    train_images: int | None = option(
        None, Integer(2, optional=True), "Use only the first N training images."
    )
    val_images: int | None = option(
        None, Integer(1, optional=True), "Use only the first N validation images."
    )
    holdout: int | None = option(
        None,
        Integer(1, optional=True),
        "Validate on the last N training images, which are then not trained on: for choosing "
        "settings without the validation images.",
    )

    @property
    def height_width(self) -> tuple[int, int]:
        """The image size as (height, width) in pixels."""
        height, _, width = str(self.size).partition("x")
        return int(height), int(width or height)
