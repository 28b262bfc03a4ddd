"""``metrics.csv``: the run's rows, readable and appended to while it trains."""

import contextlib
import csv
import io
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import write_text_atomically


class MetricsFile:
    """A row at each log interval and validation; blank means not measured.

    Opened for a resumed run, it drops the rows after ``step``: they will be written again.
    ``checksum`` is what it was at ``step``; at step 0 the file begins anew. Raises
    ``InputError`` for a damaged file.
    """

    def __init__(
        self, path: Path, metrics: tuple[str, ...], step: int = 0, checksum: int | None = None
    ) -> None:
        self.path = path
        self.columns = ("step", "images_seen", "epoch", *metrics)
        self.checksum = 0
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, extrasaction="ignore")
        writer.writeheader()
        last = 0
        for row in self._rows() if step else []:
            if last < int(row["step"]) <= step:  # the first row of each step
                last = int(row["step"])
                writer.writerow(row)
                self._count(row)
        if step and checksum not in (None, self.checksum):
            raise self.damaged("its rows are not those that the checkpoint was saved with")
        write_text_atomically(path, text.getvalue())
        self.file = open(path, "a", newline="", encoding="utf-8")  # noqa: SIM115 (open for the run)
        self.writer = csv.DictWriter(self.file, self.columns)

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        try:
            with open(self.path, newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                return [row for row in rows if re.fullmatch("[0-9]+", row["step"] or "")]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise self.damaged(type(error).__name__) from None

    def damaged(self, reason: str) -> InputError:
        """The error for a damaged file, with the remedy."""
        return InputError(
            f"{self.path}: damaged ({reason}); put back a copy of it, or start a new run"
        )

    def _count(self, row: Mapping[str, Any]) -> None:
        cells = [f"{k}={row[k]}" for k in self.columns if row.get(k) not in (None, "")]
        self.checksum = zlib.crc32("\n".join(cells).encode(), self.checksum)

    def read(self) -> list[dict[str, float]]:
        """All rows on disk, without their blanks."""
        try:
            return [{k: float(v) for k, v in row.items() if v} for row in self._rows()]
        except (ValueError, TypeError):
            raise self.damaged("not a number") from None

    def write(self, row: dict[str, Any]) -> None:
        """Append one row; a process killed after this returns leaves it there."""
        self.writer.writerow(row)
        self.file.flush()
        self._count(row)

    def to_disk(self) -> None:
        """fsync what was written."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk was reported by ``write``
            self.file.close()
