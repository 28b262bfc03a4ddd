"""Files that are whole or absent: write beside, flush to disk, rename."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(
    path: Path,
    write: Callable[[BinaryIO], object],
    *,
    previous: Path | None = None,
    lasting: bool = True,
) -> None:
    """Call ``write`` with a temporary file beside ``path``, then put it in place of ``path``.

    A reader, and a process killed at any moment, sees the old file or the new one, never a part.
    With ``previous`` the old file is kept under that name (killed in between, only there).
    ``lasting`` waits for the disk, so that the file outlasts a power cut too.
    Raises ``OSError`` (disk full, no permission) with ``path`` untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            write(file)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        if previous and path.exists():
            os.replace(path, previous)
        os.replace(part, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write does not name its file
        raise
    finally:
        part.unlink(missing_ok=True)
    if lasting:
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Put renames on the disk too, so that they outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomically(path: Path, text: str) -> None:
    """``write_atomically`` for a text, in UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def from_here(path: Path) -> str:
    """``path`` as short as it can be typed where the command was given."""
    path, here = path.resolve(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
