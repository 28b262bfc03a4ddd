"""Checkpoints: written atomically, loaded with weights_only, checked on load; when they are due."""

import io
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from common.errors import InputError
from common.files import write_atomically
from common.log import log

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
        with zipfile.ZipFile(path) as file:  # torch does not verify the checksums
            damaged = file.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such checkpoint; give a .pt file, a run folder or a run's id"
        ) from None
    except Exception as error:  # a damaged file can raise anything in torch's reader
        contents = None
        if "Weights only load failed" not in str(error):
            detail = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
            raise InputError(f"{path}: not a whole checkpoint ({detail})") from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise InputError(f"{path}: not a checkpoint of this project; give a .pt of a run folder")
    return contents


def load_first(paths: Iterable[Path], run_id: str) -> dict[str, Any]:
    """The contents of the first whole checkpoint of run ``run_id``; empty if there is no file.

    The problems of those before it are logged. Raises ``InputError`` where none is whole.
    """
    problems: list[str] = []
    for path in filter(Path.exists, paths):
        try:
            contents = load(path)
            owner = contents.get("config", {}).get("run_id")
            if "training" not in contents:
                raise InputError(f"{path}: weights only, not a checkpoint to resume from")
            if owner != run_id:
                raise InputError(f"{path}: a checkpoint of another run, {owner}")
        except InputError as error:
            problems.append(str(error))
        else:
            for problem in problems:
                log.warning(problem)
            return contents
    if problems:
        raise InputError(f"no checkpoint to resume from: {'; '.join(problems)}")
    return {}


def check_best(path: Path, run_id: str, best: Mapping[str, float]) -> None:
    """Raises ``InputError`` if ``path`` does not hold this run's best weights, or later ones."""
    contents = load(path)
    there = contents.get("best", best)  # absent in runs of commit 73bab81
    other = contents["config"]["run_id"] != run_id or "training" in contents
    if other or (there != best and there["images_seen"] <= best["images_seen"]):
        raise InputError(f"{path}: not the best weights of this run; put back a copy of them")


class SaveSchedule:
    """When to save between validations: every N images, or minutes (``"10m"``)."""

    def __init__(self, every: int | str | None, images_seen: int) -> None:
        self.images = every if isinstance(every, int) else None
        self.seconds = 60 * int(every[:-1]) if isinstance(every, str) else None
        self.saved(images_seen)

    def saved(self, images_seen: int) -> None:
        self.at_images, self.at_time = images_seen, time.monotonic()

    def is_due(self, images_seen: int) -> bool:
        if self.images:
            return images_seen - self.at_images >= self.images
        return self.seconds is not None and time.monotonic() - self.at_time >= self.seconds
