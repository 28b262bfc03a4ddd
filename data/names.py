"""The data sets' names, known without torch: wrong ones are refused before anything is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import InputError, nearest

NAMES = ("auto", "fashion-mnist", "garments", "dog-cat-bird", "cifar10")


def check_data(
    name: str, size: tuple[int, int] = (1, 1), root: Path | None = None, here: Path = Path()
) -> None:
    """Raise ``InputError`` unless ``name`` is a known name or a folder. Reads no images.

    Relative folders are looked for in ``here``.
    """
    if min(size) < 1:
        raise InputError(f"--size {size[0]}x{size[1]}: both sides must be at least 1, e.g. 28.")
    if root is not None and not os.path.isdir(here / root):
        raise InputError(f"--data-root {str(root)!r} is no folder here; leave it out to search.")
    path = os.path.join(here, os.path.expanduser(name))
    if name in NAMES or (name and os.path.isdir(path)):
        return
    kind = "is a file, not a folder" if os.path.isfile(path) else "is no folder here"
    raise InputError(
        f"--data {name!r} {kind} and none of {', '.join(NAMES)}.{nearest(name, NAMES)}"
    )
