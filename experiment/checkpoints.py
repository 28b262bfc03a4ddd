"""Checkpoints: whole or absent on disk, loaded without running code, recognised when foreign."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from common.errors import InputError
from common.files import write_atomically
from experiment.settings import SETTINGS, RunSettings, settings_from

FORMAT = "convtune-1"


def save(path: Path, contents: dict[str, Any], previous: Path | None = None) -> None:
    """Write ``contents`` (tensors and plain values) to ``path``, atomically.

    The file that it replaces becomes ``previous``. Raises ``OSError`` (disk full) with both
    old files untouched.
    """
    # Serialized first: torch's own writer turns a full disk into an error without a name.
    whole = io.BytesIO()
    torch.save({"format": FORMAT} | contents, whole)
    write_atomically(path, lambda file: file.write(whole.getbuffer()), previous=previous)


def load(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU.

    Raises ``InputError``, with the file's name, for one that is missing, truncated or not ours.
    """
    try:
        with zipfile.ZipFile(path) as file:  # torch itself does not look at the checksums
            damaged = file.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; give a .pt file of a run folder") from None
    except Exception as error:  # a damaged file can break torch's reader anywhere
        if "Weights only load failed" in str(error):
            raise _foreign(path) from None
        detail = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a whole checkpoint ({detail})") from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise _foreign(path)
    return contents


def _foreign(path: Path) -> InputError:
    return InputError(f"{path}: not a checkpoint of this project; give a .pt of a run folder")


def load_first(paths: Iterable[Path], run_id: str) -> tuple[Path | None, dict[str, Any], list[str]]:
    """The first checkpoint of run ``run_id`` that is whole: its path, contents, and what was
    wrong with those before it. A path that does not exist is passed over; None if none exists.

    Raises ``InputError`` where there are some and none is whole.
    """
    problems: list[str] = []
    for path in paths:
        if not path.exists():
            continue
        try:
            contents = load(path)
        except InputError as error:
            problems.append(str(error))
            continue
        if contents["config"]["run_id"] == run_id:
            return path, contents, problems
        problems.append(f"{path}: a checkpoint of another run, {contents['config']['run_id']}")
    if problems:
        raise InputError(f"no checkpoint to go on from: {'; '.join(problems)}")
    return None, {}, []


def load_trained(path: Path, task: str, hint: str) -> tuple[Path, dict[str, Any], RunSettings]:
    """The file, contents and settings of a trained net of ``task``; a run folder means its best.

    Raises ``InputError``, ending in ``hint``, for a checkpoint of another task.
    """
    path = path / "checkpoints" / "best.pt" if path.is_dir() else path
    contents = load(path)
    config = contents["config"]
    if config["task"] != task:
        raise InputError(f"{path}: a checkpoint of {config['task']}, not of {task}; {hint}")
    known = {f.name: config[f.name] for f in fields(SETTINGS[task]) if f.name in config}
    return path, contents, settings_from(task, known)
