"""The data sets by name. Free of torch: wrong names are refused before anything is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from common.errors import InputError, nearest
from data.layout import find_files

if TYPE_CHECKING:
    from data.images import Request, Source


# "module:function" by name; the function takes a ``Request`` and returns a ``Source``.
DATA_SETS = {
    "fashion-mnist": "data.fashion_mnist:load",
    "garments": "data.garments:load",
    "dog-cat-bird": "data.cifar:load_dog_cat_bird",
    "cifar10": "data.cifar:load",
}


def names() -> tuple[str, ...]:
    """Every value of ``--data`` that is not a folder."""
    return ("auto", *DATA_SETS)


def load_source(request: Request) -> Source:
    """The data set that ``request`` names; a name that is not registered is a folder of images."""
    return resolve_name(DATA_SETS.get(request.name, "data.folder:load"))(request)


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


def folder_val_images(name: str) -> int | None:
    """The number of validation files if ``name`` is a folder of images; None otherwise."""
    path = Path(os.path.expanduser(name))
    return len(find_files(path).val) if name not in names() and os.path.isdir(path) else None
