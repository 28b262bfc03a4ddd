"""Pictures, tables and examples as plain values, so that W&B and the run folder hold the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

MARGIN = 2  # pixels between the pictures of a grid
OVERVIEW_COLUMNS = 2  # of a restoration's overview


@dataclass(frozen=True)
class Picture:
    """uint8 pixels [h w] or [h w 3], the stem of its file name, and a caption."""

    pixels: np.ndarray
    name: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """Named columns and rows; a cell is a number, a text, None or a ``Picture``."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Examples:
    """Evaluation artifacts of a net: tables, a gallery of equal-sized pictures, an overview."""

    tables: list[Table] = field(default_factory=list)
    gallery: list[Picture] = field(default_factory=list)
    overview: Picture | None = None


def to_pixels(image: Tensor) -> np.ndarray:
    """A float image [c h w] in [0, 1], c = 1 or 3, to uint8 pixels [h w] or [h w 3]."""
    pixels = (image.detach().float().clamp(0, 1) * 255).round().byte().cpu()
    return pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy()


def grid(pictures: list[np.ndarray], columns: int, margin: int = MARGIN) -> np.ndarray:
    """Equal-sized uint8 pictures [h w] or [h w 3] in rows of ``columns``, on white."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    step_y, step_x = height + margin, width + margin
    shape = (rows * step_y + margin, columns * step_x + margin, *pictures[0].shape[2:])
    sheet = np.full(shape, 255, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        y, x = (index // columns) * step_y + margin, (index % columns) * step_x + margin
        sheet[y : y + height, x : x + width] = picture
    return sheet
