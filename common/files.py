"""Writing files: atomically, as valid JSON or CSV, and to whatever path the user named."""

import contextlib
import csv
import io
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from common.errors import InputError


def write_atomically(
    path: Path,
    write: Callable[[BinaryIO], object],
    *,
    previous: Path | None = None,
    durable: bool = True,
    mode: int | None = None,
) -> None:
    """Call ``write`` with a temporary file beside ``path``, then put it in place of ``path``.

    A reader, and a process killed at any moment, sees the old file or the new one, never a part.
    With ``previous`` the old file is kept under that name (killed in between, only there).
    ``durable`` waits for the disk, so that the file also survives a power cut; without it a power
    cut may leave an empty file under that name. ``mode`` gives the file's permissions.
    Raises ``OSError`` (disk full, no permission) with ``path`` untouched.
    """
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            write(file)
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if previous and path.exists():
            os.replace(path, previous)
        os.replace(part, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write does not name its file
        raise
    finally:
        part.unlink(missing_ok=True)
    if durable:
        fsync(path.parent)


def make_folder(path: Path) -> None:
    """Make ``path``, with the folders above it, such that a new one survives a power cut."""
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in new:
        fsync(folder.parent)


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's new names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomically(path: Path, text: str) -> None:
    """``write_atomically`` for a text, in UTF-8; what UTF-8 cannot encode is escaped."""
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_output(path: Path, content: str | Callable[[BinaryIO], object]) -> None:
    """Write a file that the user named: a text, or what a function writes.

    A symbolic link stays, and its target gets the content. A regular file is replaced atomically
    and keeps its permissions. Anything else (a pipe, a device) is written straight into, as is a
    file in a folder that cannot be written. Raises ``InputError`` where that fails.
    """

    def write(file: BinaryIO) -> object:
        if callable(content):
            return content(file)
        return file.write(content.encode(errors="backslashreplace"))

    mode = None
    try:
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(path).st_mode
        target = Path(os.path.realpath(path))
        if mode is None or (stat.S_ISREG(mode) and os.access(target.parent, os.W_OK)):
            write_atomically(target, write, mode=mode)
        else:
            with open(path, "wb") as file:
                write(file)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); give a place that you can "
            "write to"
        ) from None


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Make ``folder`` with all ``files`` or not at all. Raises ``InputError`` if it exists."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists already; give a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        inside = Path(made) / folder.name
        inside.mkdir()
        for name, content in files.items():
            (inside / name).write_bytes(content)
        os.replace(inside, folder)


def require_writable_folder(folder: Path, option: str = "") -> None:
    """Make ``folder``, which ``option`` gave; raises ``InputError`` where nothing can be written.

    Without an ``option`` it is a folder that the project makes in the current one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        advice = "start from a folder you can write to"
        if option:
            advice = f"give a folder you can write to, for example {option} runs/bench"
        named = f"{option} {folder}".strip()
        raise InputError(f"{named}: cannot be written ({error.strerror}); {advice}") from None


def json_text(value: Any, **options: Any) -> str:
    """``value`` as JSON; NaN and infinities, which JSON does not have, become null."""

    def finite(item: Any) -> Any:
        return None if isinstance(item, float) and not math.isfinite(item) else item

    return json.dumps(_mapped(value, finite), allow_nan=False, **options)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """``rows`` as CSV with a heading; a row lacks what it leaves out."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file := io.StringIO(), names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def encodable(value: Any) -> Any:
    """``value`` with every text encodable in UTF-8: lone bytes of file names become ``\\udcXX``."""

    def escaped(item: Any) -> Any:
        is_text = isinstance(item, str)
        return item.encode(errors="backslashreplace").decode() if is_text else item

    return _mapped(value, escaped)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """``value`` with each key and each item, at any depth, changed."""
    if isinstance(value, Mapping):
        return {change(key): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapped(item, change) for item in value]
    return change(value)


def relative_to_cwd(path: Path) -> str:
    """``path`` as short as it can be typed in the current folder."""
    path, cwd = path.resolve(), Path.cwd()
    return str(path.relative_to(cwd) if path.is_relative_to(cwd) else path)
