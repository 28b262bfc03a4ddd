"""The logbook's figures, beside which the project's own are put."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from experiment.settings import Settings, options_of
from tracking.record import csv_rows

FOLDER = Path(__file__).parent / "published"
METRIC = {"restoration": "val/l1", "classification": "val/accuracy"}  # what it published
BUDGET = 180_000  # training images of every published ResConv run
KEYS = (
    "size", "layers", "ks", "ch", "residual_weight", "bn_encoder", "bn_decoder", "bn_last", "act",
)  # fmt: skip
# In no column of the logbook's tables: there every run had the default.
_SAME_NET = (
    "stride", "padding", "groups", "conv", "corruption", "mask_input", "coordinates",
)  # fmt: skip
_SAME_TRAINING = (
    "loss", "loss_region", "composite", "lr", "optimizer", "weight_decay", "scheduler",
    "batch_size", "train_images", "val_images", "holdout",
)  # fmt: skip


@cache
def resconv_tables() -> dict[str, dict[tuple[Any, ...], float]]:
    """Validation L1 by table and settings (resconv.csv: 113 runs, one seed each)."""
    tables: dict[str, dict[tuple[Any, ...], float]] = {}
    for row in csv_rows(FOLDER / "resconv.csv"):
        row["bn_last"] = row.pop("bn_last_layer")
        settings = Settings.parse("resconv", {key: row[key] for key in KEYS}).flat()
        tables.setdefault(row["table"], {})[net_of(settings)] = float(row["validation_loss"])
    return tables


def net_of(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """The settings that tell one published net from another: the key in ``resconv_tables``."""
    return tuple(settings.get(name) for name in KEYS + _SAME_NET)


@cache
def _classify() -> dict[int, float]:
    """Accuracy on Kaggle's hidden test set by parameter count (channel_selection.csv)."""
    figures = {row.pop("figure"): row for row in csv_rows(FOLDER / "channel_selection.csv")}
    accuracy = figures["submission_accuracy_percent"]
    return {int(n): float(accuracy[kind]) / 100 for kind, n in figures["parameters"].items()}


def logbook_table(sweep: str | None) -> str:
    """The logbook's table of a sweep by name; a rehearsal is ``<table>-images-<budget>``."""
    return re.sub(r"-images-\d+$", "", sweep or "")


def published(
    sweep: str | None, settings: Mapping[str, Any], parameters: int | None
) -> float | None:
    """The logbook's value of ``METRIC`` for this net on these images, or None.

    A ResConv net is looked for in the logbook's table of the name ``sweep``, a classifier among
    its two nets. How it was trained is not asked here, see ``other_training``.
    """
    command = settings.get("command")
    if command == "resconv":
        return resconv_tables().get(logbook_table(sweep), {}).get(net_of(settings))
    conv = settings.get("conv") == "full" or settings.get("rank") == 1
    data = settings["data"] == "dog-cat-bird" and str(settings.get("size")) in ("32", "32x32")
    all_images = settings.get("train_images") is None
    if command == "classify" and conv and data and settings.get("model") == "small" and all_images:
        return _classify().get(parameters or 0)
    return None


def other_training(settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The training settings that differ from the logbook's: the run's value, the logbook's."""
    logbook = options_of("resconv")
    both = {name: (settings[name], logbook[name].default) for name in _SAME_TRAINING}
    return {name: (ours, theirs) for name, (ours, theirs) in both.items() if ours != theirs}


def rows_of(sweep: str | None) -> int:
    """How many rows the logbook's table ``sweep`` has; 0 for any other sweep."""
    return len(resconv_tables().get(logbook_table(sweep), {}))
