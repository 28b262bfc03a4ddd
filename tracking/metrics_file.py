"""``metrics.csv``: the run's rows, readable and appended to while it trains."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from pathlib import Path
from typing import Any

from common.files import write_text_atomically


class MetricsFile:
    """A row at each log interval and validation; blank means not measured.

    Opened for a resumed run, it drops the rows after ``step``: they will be written again.
    """

    def __init__(self, path: Path, metrics: tuple[str, ...], step: int = 0) -> None:
        self.path = path
        self.columns = ("step", "images_seen", "epoch", *metrics)
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self._until(step))
        write_text_atomically(path, text.getvalue())
        self.file = open(path, "a", newline="", encoding="utf-8")  # noqa: SIM115 (open for the run)
        self.writer = csv.DictWriter(self.file, self.columns)

    def _until(self, step: int) -> list[dict[str, str]]:
        """The first row of each step up to ``step``: the rows that the run had at ``step``."""
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
        with open(self.path, newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if (row["step"] or "").isdigit()]

    def read(self) -> list[dict[str, float]]:
        """All rows on disk, without their blanks."""
        return [{k: float(v) for k, v in row.items() if v} for row in self._rows()]

    def write(self, row: dict[str, Any]) -> None:
        """Append one row; a process killed after this returns leaves it there."""
        self.writer.writerow(row)
        self.file.flush()

    def to_disk(self) -> None:
        """fsync: a checkpoint must never be newer than its metrics."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk was reported by ``write``
            self.file.close()
