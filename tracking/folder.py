"""The run folder: the plain twin of what goes to W&B, readable without any tool."""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import io
import json
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

import yaml

from common.errors import InputError
from common.files import write_atomically, write_text_atomically
from common.media import Picture, Table

ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_run_id() -> str:
    """Eight random characters, as W&B makes its run ids (independent of the run's seed).

    ``WANDB_RUN_ID``, which W&B's agent sets, goes first. Raises ``InputError`` for a bad one.
    """
    given = os.environ.get("WANDB_RUN_ID")
    if given:
        if not re.fullmatch(r"[\w-]{1,64}", given):
            raise InputError(f"WANDB_RUN_ID={given}: must be letters, digits, - and _, at most 64")
        return given
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(8))


class RunFolder:
    """``<runs_dir>/<name>-<id>``: config.yaml, metrics.csv, summary.json and the rest.

    ``checkpoints/`` last.pt, previous.pt, best.pt; ``tables/`` one CSV a table; ``pictures/``
    overviews by images seen, ``pictures/demo/`` the single pictures; ``wandb/`` W&B's own files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.pictures = path / "pictures"
        self.tables = path / "tables"
        self._lock: int | None = None

    @staticmethod
    def safe_name(name: str) -> str:
        """``name`` as a short file name: letters, digits, hyphens, ``_``, ``.`` and ``+``."""
        plain = "".join(c if c.isalnum() or c in "-_.+" else "-" for c in name[:100])
        return plain.strip("-.") or "run"

    @classmethod
    def create(cls, runs_dir: str, name: str, run_id: str, config: dict[str, Any]) -> RunFolder:
        """Make a new folder, claimed by this process. Raises ``InputError`` where it cannot be.

        It appears with its config or not at all: without one, no process could go on with it.
        """
        path = Path(runs_dir) / f"{cls.safe_name(name)}-{run_id}"
        hidden = cls(path.with_name(f".{path.name}"))
        try:
            hidden.path.mkdir(parents=True, exist_ok=True)
            hidden.lock()
            hidden.write_config(config)
            hidden.path.rename(path)
        except OSError as error:
            shutil.rmtree(hidden.path, ignore_errors=True)
            raise InputError(
                f"--runs-dir {runs_dir}: cannot make {path.name} there ({error.strerror}); "
                "give a folder you can write to, for example --runs-dir runs"
            ) from None
        folder = cls(path)
        folder._lock = hidden._lock
        return folder

    def lock(self) -> bool:
        """Claim the folder for this process, until ``unlock`` or its end; False if it is taken."""
        self._lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                self.unlock()
                return False
            # A file system without locks: then nobody is kept out.
        return True

    def clear(self) -> None:
        """Remove the half-written files that a killed process left."""
        for part in self.path.rglob(".*.part"):
            part.unlink(missing_ok=True)

    def unlock(self) -> None:
        """Let other processes go on with the run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_config(self, config: dict[str, Any]) -> None:
        """``config.yaml``: what ``run.config`` holds."""
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        write_text_atomically(self.path / "config.yaml", text)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """``summary.json``: state, reason, last and best metrics, times."""
        text = json.dumps(summary, indent=2)
        write_text_atomically(self.path / "summary.json", text + "\n")

    def write_table(self, table: Table, folder: str = "demo") -> None:
        """``tables/<name>.csv``; pictures become PNG files and their cells the files' names."""
        self.tables.mkdir(exist_ok=True)
        rows = [[self._cell(cell, folder) for cell in row] for row in table.rows]
        with open(self.tables / f"{table.name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([table.columns, *rows])

    def _cell(self, cell: Any, folder: str) -> Any:
        if not isinstance(cell, Picture):
            return cell
        return str(self.write_picture(cell, folder).relative_to(self.path))

    def write_picture(self, picture: Picture, folder: str = "", name: str = "") -> Path:
        """A PNG under ``pictures/``; returns its path."""
        from PIL import Image

        path = self.pictures / folder / f"{name or picture.name}.png"
        image = Image.fromarray(picture.pixels)
        write_atomically(path, lambda file: image.save(file, format="PNG"), lasting=False)
        return path


class MetricsFile:
    """``metrics.csv``: a row at each log interval and validation; blank means not measured.

    Opened for a run that goes on, it drops the rows after ``step``: they will be made again.
    """

    def __init__(self, path: Path, metrics: tuple[str, ...], step: int = 0) -> None:
        self.path = path
        self.columns = ("step", "images_seen", "epoch", *metrics)
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self._until(step))
        write_text_atomically(path, text.getvalue())
        self.file = open(path, "a", newline="")  # noqa: SIM115 (open as long as the run)
        self.writer = csv.DictWriter(self.file, self.columns)

    def _until(self, step: int) -> list[dict[str, str]]:
        """The first row of each step up to ``step``: what the run had when it was at ``step``."""
        kept: list[dict[str, str]] = []
        last = 0
        for row in self._rows() if step else []:
            if last < int(row["step"]) <= step:
                kept.append(row)
                last = int(row["step"])
        return kept

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with open(self.path, newline="") as file:
            return [row for row in csv.DictReader(file) if (row["step"] or "").isdigit()]

    def read(self) -> list[dict[str, float]]:
        """All rows on disk, without their blanks."""
        return [{k: float(v) for k, v in row.items() if v} for row in self._rows()]

    def write(self, row: dict[str, Any]) -> None:
        """Append one row; a process killed after this returns leaves it there."""
        self.writer.writerow(row)
        self.file.flush()

    def to_disk(self) -> None:
        """Wait until the rows would outlast a power cut too: a checkpoint counts on them."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk was reported by ``write``
            self.file.close()
