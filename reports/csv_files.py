"""Results in CSV files, such as those of results/ and of ``compare --out x.csv``, as runs."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from models.registry import NETS
from tasks.metrics import OF_TASK, find
from tracking.record import RunRecord

COSTS = ("parameters", "receptive_field", "multiply_adds", "images_per_second")
# Columns that ``compare`` computes itself.
_DERIVED = ("place", "runs", "joined", "group_runs", "best_setting", "published", "difference",
            "test_difference", "differs", "from_best", "from_baseline", "minutes", "sweep",
            "names", "seed", "command")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CsvRun(RunRecord):
    """A row of a results file: one run, or the mean of a setting's seeds.

    ``config`` holds only the settings that the file names. ``spreads`` are the standard deviations
    of the means in ``last``, over ``seeds`` runs.
    """

    spreads: Mapping[str, float]
    seeds: int

    def curve(self, metric: str) -> list[tuple[float, float]]:
        return []

    def examples(self) -> list[Any]:
        return []


def csv_runs(path: Path, metric: str | None = None) -> list[CsvRun]:
    """One record a row; ranked by ``metric``, else by its first ``val/`` or ``test/`` figure.

    Raises ``InputError`` for a file that is no table and where no metric is known.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from None
    if not rows or any(None in row or None in row.values() for row in rows):
        raise InputError(f"{path}: no table with a heading and rows of the same length")
    texts = {name for name in rows[0] for row in rows if not _is_number(row[name])}
    return [_record(path, line, row, texts, metric) for line, row in enumerate(rows, start=2)]


def _record(
    path: Path, line: int, row: Mapping[str, str], texts: set[str], metric: str | None
) -> CsvRun:
    values = {name: _value(text) for name, text in row.items() if text}
    filled = {name: value for name, value in values.items() if value == value}  # not NaN
    measured = [name for name in filled if name.startswith(("val/", "test/")) and find(name)]
    ranked_by = metric if metric in filled else next(iter(measured), metric)
    if ranked_by is None:
        raise InputError(
            f"{path}: no column is called like a metric (val/l1, ...); rank by another one with "
            "--metric NAME, and --goal maximize where more is better. There are "
            f"{', '.join(row)}"
        )
    stds = {name.removesuffix("_std"): v for name, v in filled.items() if _is_std(name, row)}
    last, settings = {}, {}
    for name, value in filled.items():
        bound = name.rpartition("_")[0] in row and name.endswith(("_std", "_low", "_high", "_p"))
        if bound or name in (*_DERIVED, *COSTS):
            continue
        (last if name == ranked_by or _is_result(name, texts) else settings)[name] = value
    minutes = filled.get("minutes")
    return CsvRun(
        id=f"{path}:{line}",
        name=f"{path.stem}:{line}",
        command=_command(row, ranked_by),
        state="finished",
        config=settings | {"seed": filled.get("seed", line), "command": _command(row, ranked_by)},
        summary={key: filled[key] for key in COSTS if key in filled}
        | {"last": last, "seconds": minutes * 60 if isinstance(minutes, (int, float)) else None},
        project="",
        sweep=row.get("sweep") or path.stem,
        order="",
        url=None,
        metric=ranked_by,
        spreads=stds,
        seeds=_count(filled.get("runs") or filled.get("seeds")),
    )


def _is_result(name: str, texts: set[str]) -> bool:
    """Whether a column holds a figure of the run rather than one of its settings."""
    from experiment.settings import options_of

    options = {option for command in NETS for option in options_of(command)}
    return name not in texts and name.replace("-", "_") not in (*options, "sweep")


def _count(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 1


def _is_std(name: str, row: Mapping[str, str]) -> bool:
    return name.endswith("_std") and name.removesuffix("_std") in row


def _command(row: Mapping[str, str], metric: str) -> str:
    if row.get("command") in NETS:
        return row["command"]
    name = metric.rpartition("/")[2]
    classifies = "accuracy" in name or name in [m.name for m in OF_TASK["classification"]]
    return "classify" if classifies else "resconv"


def _value(text: str) -> Any:
    if not _is_number(text):
        return {"True": True, "False": False}.get(text, text)
    number = float(text)
    return int(number) if number.is_integer() and "." not in text else number


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text
    return True
