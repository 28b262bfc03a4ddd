"""The data sets by name. Free of torch: wrong names are refused before anything is loaded."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from common.errors import InputError, nearest

if TYPE_CHECKING:
    from data.images import Request, Source


class DataSet(NamedTuple):
    """One line of the registry."""

    loader: str  # "module:function"; the function takes a ``Request`` and returns a ``Source``
    val_images: int


DATA_SETS = {
    "fashion-mnist": DataSet("data.fashion_mnist:load", val_images=10_000),
    "garments": DataSet("data.garments:load", val_images=1_000),
    "dog-cat-bird": DataSet("data.cifar:load_dog_cat_bird", val_images=3_000),
    "cifar10": DataSet("data.cifar:load", val_images=10_000),
}


def names() -> tuple[str, ...]:
    """Every value of ``--data`` that is not a folder."""
    return ("auto", *DATA_SETS)


def load_source(request: Request) -> Source:
    """The data set that ``request`` names; a name that is not registered is a folder of images."""
    loader = DATA_SETS[request.name].loader if request.name in DATA_SETS else "data.folder:load"
    module, function = loader.split(":")
    return getattr(importlib.import_module(module), function)(request)


def check_data(
    name: str,
    size: tuple[int, int] = (1, 1),
    root: Path | None = None,
    working_folder: Path = Path(),
) -> None:
    """Check ``--data``, ``--size`` and ``--data-root`` without reading any image.

    Relative folders are looked for in ``working_folder``. Raises ``InputError`` unless ``name``
    is a known name or a folder, ``root`` a folder, and ``size`` positive.
    """
    if min(size) < 1:
        raise InputError(f"--size {size[0]}x{size[1]}: both sides must be at least 1, e.g. 28.")
    if root is not None and not os.path.isdir(working_folder / root):
        raise InputError(
            f"--data-root {str(root)!r} is not a folder; leave it out to search the usual places."
        )
    path = os.path.join(working_folder, os.path.expanduser(name))
    if name in names() or (name and os.path.isdir(path)):
        return
    kind = "is a file, not a folder" if os.path.isfile(path) else "is not a folder"
    raise InputError(
        f"--data {name!r} {kind} and not one of {', '.join(names())}.{nearest(name, names())}"
    )
