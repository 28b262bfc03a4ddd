"""Checkpoints: whole or absent, loaded without running code, enough to go on bit by bit."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from common.errors import InputError
from common.files import write_atomically

FORMAT = "convtune-1"


def save(path: Path, contents: dict[str, Any]) -> None:
    """Write ``contents`` (tensors and plain values) to ``path``, atomically.

    Raises ``OSError`` (disk full), with the old file untouched.
    """
    write_atomically(path, lambda file: torch.save({"format": FORMAT} | contents, file))


def rotate(path: Path, previous: Path) -> None:
    """Keep the checkpoint at ``path`` as ``previous`` before it is replaced."""
    if path.exists():
        previous.unlink(missing_ok=True)
        os.link(path, previous)


def load(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU.

    Raises ``InputError``, with the file's name, for one that is missing, truncated or not ours.
    """
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; give a .pt file of a run folder") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        detail = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a whole checkpoint ({detail})") from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise InputError(f"{path}: not a checkpoint of this project; give a .pt of a run folder")
    return contents
