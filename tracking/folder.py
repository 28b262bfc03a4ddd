"""The run folder: the same content as the W&B run, readable without any tool."""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from common.errors import InputError
from common.files import (
    encodable,
    fsync,
    json_text,
    make_folder,
    write_atomically,
    write_text_atomically,
)
from common.media import Picture, Table

ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
MAX_NAME_BYTES = 150  # of a folder's name; file systems take 255 with id and prefix


def utc_now() -> str:
    """The time (UTC) as ISO text that sorts."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


def new_run_id() -> str:
    """``WANDB_RUN_ID``, which W&B's agent sets, else eight random characters as W&B makes them.

    Raises ``InputError`` for an id that is no file name.
    """
    given = os.environ.get("WANDB_RUN_ID")
    if given:
        if not re.fullmatch(r"[\w-]{1,64}", given):
            raise InputError(f"WANDB_RUN_ID={given}: must be letters, digits, - and _, at most 64")
        return given
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(8))


def find_run_folder(run: str, runs_dir: Path) -> Path | None:
    """The run folder called ``run``: a path, or an id or folder name in ``runs_dir``."""
    for path in (Path(run), runs_dir / run):
        if (path / "config.yaml").is_file():
            return path
    folders = (path.parent for path in runs_dir.glob("[!.]*/config.yaml"))
    found = [folder for folder in folders if folder.name.endswith(f"-{run}")]
    return found[0] if len(found) == 1 else None


def read_config(folder: Path) -> dict[str, Any]:
    """A run folder's config.yaml. Raises ``InputError`` where it is not one."""
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())[:80]
        raise InputError(f"{path}: cannot be read ({detail}); give another run folder") from None
    if not isinstance(config, dict) or not {"task", "run_id", "dataset"} <= config.keys():
        raise InputError(f"{path}: not the config of a run; give the folder of a run")
    return config


def recorded_time(config: Mapping[str, Any], summary: Mapping[str, Any], file: Path) -> str:
    """When a run ended, or began, in UTC as text that sorts.

    Runs of 73bab81 recorded neither: then it is the time of ``file``, which a copy may change.
    """
    recorded = summary.get("ended_at") or summary.get("started_at") or config.get("started_at")
    if recorded:
        return str(recorded)
    written = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    return written.isoformat(timespec="microseconds")


def read_summary(folder: Path) -> dict[str, Any]:
    """A run folder's summary.json; empty where there is none, or it cannot be read."""
    try:
        return dict(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def state_of(folder: Path) -> str:
    """The run's state by its summary.json, ``running`` where that was never written."""
    return read_summary(folder).get("state", "running")


class RunFolder:
    """``<runs_dir>/<name>-<id>``: config.yaml, metrics.csv, summary.json; ``checkpoints/``,
    ``tables/`` (one CSV a table), ``pictures/`` and ``wandb/`` (W&B's own files).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._lock: int | None = None
        self._unsynced: list[Path] = []

    @staticmethod
    def safe_name(name: str) -> str:
        """``name`` as a short file name: letters, digits, hyphens, ``_``, ``.`` and ``+``."""
        plain = "".join(c if c.isalnum() or c in "-_.+" else "-" for c in name[:100])
        return plain.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip("-.") or "run"

    @classmethod
    def create(cls, runs_dir: str, config: dict[str, Any]) -> RunFolder:
        """Make the folder of a new run, locked by this process; adds ``started_at`` to ``config``.

        It appears with its config or not at all: without one, no process could resume it. Raises
        ``InputError`` where it cannot be made, and for an id that another run has already.
        """
        run_id = config["run_id"]
        path = Path(runs_dir) / f"{cls.safe_name(config['run_name'])}-{run_id}"
        for other in Path(runs_dir).glob(f"[!.]*-{run_id}/config.yaml"):
            with contextlib.suppress(InputError):  # damaged: its name must do
                if read_config(other.parent)["run_id"] != run_id:
                    continue
            raise cls._id_taken(run_id, other.parent)
        config["started_at"] = utc_now()
        hidden = cls(path.with_name(f".{path.name}"))
        try:
            make_folder(path.parent)
            hidden.path.mkdir(exist_ok=True)
            hidden.lock()
            text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
            write_text_atomically(hidden.path / "config.yaml", text)
            hidden.path.rename(path)
        except OSError as error:
            shutil.rmtree(hidden.path, ignore_errors=True)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and path.exists():
                raise cls._id_taken(run_id, path) from None
            raise InputError(
                f"--runs-dir {runs_dir}: cannot make {path.name} there ({error.strerror}); "
                "give a folder you can write to, for example --runs-dir runs"
            ) from None
        folder = cls(path)
        fsync(path.parent)  # else a power cut could leave it under its hidden name
        folder._lock = hidden._lock
        return folder

    @staticmethod
    def _id_taken(run_id: str, path: Path) -> InputError:
        return InputError(
            f"WANDB_RUN_ID={run_id}: {path} has this id already; unset WANDB_RUN_ID for a new run, "
            f"or continue that one with --resume {path}"
        )

    def lock(self) -> bool:
        """Lock the folder for this process, until ``unlock`` or its end; False if it is locked."""
        self._lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                self.unlock()
                return False
            # File systems without locks: continue unlocked.
        return True

    def clear(self) -> None:
        """Remove half-written files and reports of hangs, left by an earlier process."""
        for left in (*self.path.rglob(".*.part"), *self.path.glob("hang-rank*.txt")):
            left.unlink(missing_ok=True)

    def unlock(self) -> None:
        """Release the lock, so that other processes can resume the run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def note_alive(self) -> None:
        """Set the lock file's time: a restart reads from it when the run was last at work."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.utime(self._lock)

    def seconds_lost(self) -> float:
        """Seconds from the last checkpoint to the last sign of life: work to be repeated."""
        try:
            saved = (self.checkpoints / "last.pt").stat().st_mtime
        except FileNotFoundError:
            saved = (self.path / "config.yaml").stat().st_mtime
        signs = [self.path / name for name in (".lock", "metrics.csv")]
        return max([0.0, *(p.stat().st_mtime - saved for p in signs if p.exists())])

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json``: state, reason, last and best metrics, times."""
        text = json_text(summary, indent=2)
        write_text_atomically(self.path / "summary.json", text + "\n")

    def write_table(self, table: Table) -> None:
        """Write ``tables/<name>.csv``; pictures become PNG files, named in their cells."""

        def cell(value: Any) -> Any:
            return self.write_picture(value, "demo") if isinstance(value, Picture) else value

        rows = [[cell(value) for value in row] for row in table.rows]
        path = self.path / "tables" / f"{table.name}.csv"
        make_folder(path.parent)
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(encodable([table.columns, *rows]))
        self._unsynced.append(path)

    def write_picture(self, picture: Picture, folder: str = "", name: str = "") -> str:
        """Write a PNG under ``pictures/``; returns its path in the run folder."""
        from PIL import Image

        path = self.path / "pictures" / folder / f"{name or picture.name}.png"
        image = Image.fromarray(picture.pixels)
        write_atomically(path, lambda file: image.save(file, format="PNG"), durable=False)
        self._unsynced.append(path)
        return str(path.relative_to(self.path))

    def to_disk(self) -> None:
        """fsync the tables and pictures that are new: together, which disks do much faster."""
        for path in {*self._unsynced, *(path.parent for path in self._unsynced)}:
            fsync(path)
        self._unsynced = []
