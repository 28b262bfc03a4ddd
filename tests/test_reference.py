"""The line of a run's closing summary about the nearest-neighbour baseline."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiment.display import Display

CONFIG = {"command": "resconv", "corruption": "half", "size": 28,
          "dataset": {"name": "fashion-mnist", "train": 60_000, "val": 10_000}}  # fmt: skip


def closing_lines(config: dict[str, Any], last: dict[str, float]) -> list[str]:
    display = Display(Console(file=(text := io.StringIO()), width=200))
    summary = {"name": "x", "last": last, "best": {}, "seconds": 1, "images_per_second": 1,
               "wandb": {"url": None, "folder": None, "mode": "disabled"}}  # fmt: skip
    display.summary(summary, config, Path("runs/x"))
    return [line for line in text.getvalue().splitlines() if line.startswith("baseline")]


def test_a_run_is_compared_with_the_nearest_training_images() -> None:
    wanted = "baseline    val/l1_composite {} the nearest training images' 0.0396"
    below = closing_lines(CONFIG, {"val/l1_composite": 0.0363})
    assert below == [wanted.format("0.0363 is 8.3% below")]
    assert closing_lines(CONFIG | {"size": "28x28"}, {"val/l1_composite": 0.0495}) == [
        wanted.format("0.0495 is 25.0% above")
    ]


@pytest.mark.parametrize(
    "other",
    [{"command": "baseline"}, {"corruption": "noise:25"}, {"size": 32},
     {"dataset": CONFIG["dataset"] | {"val": 500}}, {"dataset": CONFIG["dataset"] | {"name": "g"}}],
)  # fmt: skip
def test_an_unknown_baseline_gives_no_closing_line(other: dict[str, Any]) -> None:
    assert closing_lines(CONFIG | other, {"val/l1_composite": 0.05}) == []
    assert closing_lines(CONFIG, {"val/l1": 0.05}) == []
