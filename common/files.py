"""Files that are whole or absent: write beside, flush to disk, rename."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` with a temporary file beside ``path``, then put it in place of ``path``.

    A reader, and a process killed at any moment, sees the old file or the new one, never a part.
    Raises ``OSError`` (disk full, no permission) with ``path`` untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """``write_atomically`` for a text, in UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))
