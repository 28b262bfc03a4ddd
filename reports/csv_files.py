"""Results in CSV files, such as those of results/ and of ``compare --out x.csv``, as runs."""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from experiment.settings import options_of
from models.registry import NETS
from tasks.metrics import OF_TASK, find
from tracking.record import RunRecord

SIZES = ("parameters", "receptive_field", "multiply_adds")  # the same for all seeds of a setting
COSTS = (*SIZES, "images_per_second")
COMPOSITE = "val/l1_composite"
# Columns that ``compare`` computes itself.
_DERIVED = ("place", "runs", "joined", "group_runs", "best_setting", "published", "difference",
            "test_difference", "differs", "from_best", "from_baseline", "minutes", "sweep",
            "names", "seed", "command")  # fmt: skip
# No settings: runs that differ in them are pooled; in precision, too, in a file with these columns.
_ENVIRONMENT = ("device_name", "torch", "commit")


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
    """One record a row, ranked by ``metric``, else as ``_own_metric`` says.

    Raises ``InputError`` for a file that is no table and where no metric is known.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            lines, names = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from None
    if not lines or any(None in line or None in line.values() for line in lines):
        raise InputError(f"{path}: no table with a heading and rows of the same length")
    double = [name for name, number in Counter(names).items() if number > 1]
    if double:
        raise InputError(f"{path}: the column {double[0]} is there twice; leave one out")
    rows = [{name: _value(text) for name, text in line.items() if text} for line in lines]
    texts = {name for row in rows for name, value in row.items() if isinstance(value, (str, bool))}
    options = {option for command in NETS for option in options_of(command)}
    results = {name for name in lines[0] if name.replace("-", "_") not in options} - texts
    return [
        _record(path, number, row, list(lines[0]), results, metric)
        for number, row in enumerate(rows, start=2)
    ]


def _record(
    path: Path,
    line: int,
    row: Mapping[str, Any],
    columns: Sequence[str],
    results: set[str],
    metric: str | None,
) -> CsvRun:
    """``results`` are the columns that hold figures of the run; others are its settings."""
    ranked_by = metric if metric in row else _own_metric(row) or metric
    if ranked_by is None:
        numbers = [name for name in columns if name in results] or ["NAME"]
        raise InputError(
            f"{path}: no column is called like a metric (val/l1, ...); rank by another one, for "
            f"example --metric {numbers[-1]}, with --goal maximize where more is better. There are "
            f"{', '.join(columns)}"
        )
    row = {name: value for name, value in row.items() if value == value}  # not NaN
    command = _command_of(row, ranked_by)
    for name, value in row.items():
        wanted = name in (*COSTS, "images", "minutes", "runs", ranked_by, f"{ranked_by}_std")
        if wanted and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise InputError(f"{path}, line {line}: {name} must be a number, not {value!r}")
    last, settings, spreads = {}, {}, {}
    environment = (*_ENVIRONMENT, "precision") if "commit" in columns else _ENVIRONMENT
    for name, value in row.items():
        base, _, part = name.rpartition("_")
        if base in columns and part in ("std", "low", "high", "p"):
            if part == "std" and isinstance(value, (int, float)):
                spreads[base] = value
        elif name not in (*_DERIVED, *COSTS, *environment):
            (last if name == ranked_by or name in results else settings)[name] = value
    minutes, seeds = row.get("minutes"), row.get("runs") or row.get("seeds")
    return CsvRun(
        id=f"{path}:{line}",
        name=f"{path.stem}:{line}",
        command=command,
        state="finished",
        config=settings | {"seed": row.get("seed"), "command": command},
        summary={key: row[key] for key in COSTS if key in row}
        | {"last": last, "seconds": minutes and minutes * 60},
        project="",
        sweep=str(row.get("sweep", path.stem)),
        order="",
        url=None,
        metric=ranked_by,
        spreads=spreads,
        seeds=int(seeds) if isinstance(seeds, (int, float)) and math.isfinite(seeds) else 1,
    )


def _command_of(row: Mapping[str, Any], metric: str) -> str:
    """The command in the row, else one whose task has ``metric``."""
    command, name = row.get("command"), metric.rpartition("/")[2]
    if command in NETS:
        return command
    classifies = "accuracy" in name or name in [m.name for m in OF_TASK["classification"]]
    return "classify" if classifies else "resconv"


def _own_metric(row: Mapping[str, Any]) -> str | None:
    """The composite's error of a net trained on it, else the first ``val/`` or ``test/`` figure."""
    command, composite = row.get("command"), row.get("composite")
    if composite is None and command in NETS and "composite" in options_of(command):
        composite = options_of(command)["composite"].default
    if composite is True and COMPOSITE in row:
        return COMPOSITE
    return next((n for n in row if n.startswith(("val/", "test/")) and find(n)), None)


def _value(text: str) -> Any:
    """A number, True, False, or the text itself."""
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(text)
    return {"True": True, "False": False}.get(text, text)
