"""A table of compared runs: its rows, its headings, and values as a reader writes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reports.statistics import Difference, Spread
from tracking.record import RunRecord

TITLES = {
    "place": "#", "differs": "differs from best", "from_best": "from best",
    "from_baseline": "from baseline, %", "joined": "settings", "group_runs": "runs",
    "test_difference": "test difference", "bn_encoder": "bn enc", "bn_decoder": "bn dec",
    "residual_weight": "residual weight", "images_per_second": "images/s", "lr": "learning rate",
    "receptive_field": "receptive field", "multiply_adds": "multiply-adds",
    "train_images": "train images", "val_images": "val images", "runs": "seeds",
}  # fmt: skip


def title(column: str) -> str:
    """The heading of a column."""
    return TITLES.get(column, column.replace("_", " "))


def show(value: Any) -> str:
    """A setting as a reader writes it: ``1.0`` as 1, True as yes, None as a dash.

    Control characters, which could steer a terminal, are replaced.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(char if char.isprintable() else "�" for char in text)


@dataclass
class Row:
    """One setting: its runs (one a seed), their means, and what a column shows of it."""

    settings: dict[str, Any]
    runs: list[RunRecord]
    values: dict[str, Any] = field(default_factory=dict)

    def label(self, names: Sequence[str]) -> str:
        """The settings in ``names`` that the net has, for legends: ``unet, width 32``."""
        known = sorted((n for n in names if n in self.settings), key=lambda n: n != "command")
        return ", ".join(
            show(self.settings[n]) if n == "command" else f"{title(n)} {show(self.settings[n])}"
            for n in known
        )

    def by_seed(self, metric: str) -> dict[Any, float]:
        """The final values of the metric by seed."""
        values = {run.config.get("seed"): run.last.get(metric) for run in self.runs}
        return {seed: value for seed, value in values.items() if value is not None}


@dataclass
class Table:
    """The comparison of one sweep's runs (or of runs outside any sweep).

    ``task`` is restoration or classification. ``grouped``: a row joins all settings of a group.
    """

    name: str
    task: str
    question: str
    metric: str
    varying: list[str]
    columns: list[str]
    rows: list[Row]
    left_out: list[RunRecord]
    grouped: bool
    notes: list[str] = field(default_factory=list)


def runs_of(tables: Sequence[Table]) -> list[RunRecord]:
    """Every compared run."""
    return [run for table in tables for row in table.rows for run in row.runs]


def plain(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """A row's raw numbers; a mean over seeds has its spread in ``<column>_std``."""
    plain: dict[str, Any] = {}
    for column in columns:
        value = row.values.get(column)
        if isinstance(value, Spread):
            plain[column] = value.mean
            if value.std is not None:
                plain[f"{column}_std"] = value.std
        elif isinstance(value, Difference):
            plain[column] = value.mean
            plain |= {f"{column}_{part}": getattr(value, part) for part in ("low", "high", "p")}
        else:
            plain[column] = value
    return plain
