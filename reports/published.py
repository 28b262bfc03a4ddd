"""The logbook's figures, beside which the project's own are put."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from training.settings import settings_from

FOLDER = Path(__file__).parent / "published"
BUDGET = 180_000  # training images of every published ResConv run
KEYS = (
    "size", "layers", "ks", "ch", "residual_weight", "bn_encoder", "bn_decoder", "bn_last", "act",
)  # fmt: skip


@cache
def _resconv() -> dict[str, dict[tuple[Any, ...], float]]:
    """Validation L1 by table and settings (resconv.csv: 113 runs, one seed each)."""
    tables: dict[str, dict[tuple[Any, ...], float]] = {}
    with open(FOLDER / "resconv.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            row["bn_last"] = row.pop("bn_last_layer")
            settings = settings_from("resconv", {key: row[key] for key in KEYS})
            key = tuple(getattr(settings, name) for name in KEYS)
            tables.setdefault(row["table"], {})[key] = float(row["validation_loss"])
    return tables


@cache
def _classify() -> dict[int, float]:
    """Accuracy on Kaggle's hidden test set by parameter count (channel_selection.csv)."""
    with open(FOLDER / "channel_selection.csv", newline="", encoding="utf-8") as file:
        figures = {row.pop("figure"): row for row in csv.DictReader(file)}
    accuracy = figures["submission_accuracy_percent"]
    return {int(n): float(accuracy[kind]) / 100 for kind, n in figures["parameters"].items()}


def logbook_table(sweep: str | None) -> str:
    """The logbook's table of a sweep by name; a rehearsal is ``<table>-images-<budget>``."""
    return re.sub(r"-images-\d+$", "", sweep or "")


def published(
    task: str, sweep: str | None, settings: Mapping[str, Any], parameters: int | None
) -> float | None:
    """The logbook's value for this point of this sweep, or None."""
    if task == "classify":
        small = settings.get("model") == "small"
        return _classify().get(parameters or 0) if small and sweep else None
    return _resconv().get(logbook_table(sweep), {}).get(tuple(settings.get(key) for key in KEYS))


def rows_of(sweep: str | None) -> int:
    """How many rows the logbook's table ``sweep`` has; 0 for any other sweep."""
    return len(_resconv().get(logbook_table(sweep), {}))
