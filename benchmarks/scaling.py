"""How speed scales with batch size, image size, layers, kernel and threads.

One setting at a time is changed from the logbook's net. Arithmetic speed is multiply-adds of the
network, forward and backward (three times the forward's), a second.

    python -m benchmarks.scaling
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.common import benchmark, by_turns, make_training, write
from common.media import Table
from training.trainer import Training

CLAIM = (
    "Training images a second and multiply-adds a second (three times the forward pass's) as one "
    "setting changes, the others as in the first row; medians over the rounds. The last column is "
    "the arithmetic speed relative to the first row: where it falls, cost grows faster than the "
    "arithmetic. See docs/speed.md."
)
AXES = {
    "batch_size": (8, 16, 32, 64, 128, 256),
    "size": (14, 28, 32, 48, 64),
    "layers": (1, 3, 7, 11, 21, 30),
    "ch": (8, 16, 32, 64),
    "ks": (1, 3, 5, 7, 9, "3:9"),
}
BASE = {"batch_size": 64, "size": 28, "layers": 11, "ch": 32, "ks": 3}


def threads_to_try() -> list[int]:
    """1, 2, 4, … up to the threads in use."""
    available = torch.get_num_threads()
    return sorted({2**n for n in range(available.bit_length())} | {available})


def limited(training: Training, threads: int) -> Callable[[], None]:
    """A step on so many threads."""

    def step() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        training.train_step()
        torch.set_num_threads(before)

    return step


def plot(table: Table, path: Path) -> None:
    """Images and multiply-adds a second against each setting."""
    from matplotlib.figure import Figure

    axes = list(dict.fromkeys(row[0] for row in table.rows if row[0] != "base"))
    figure = Figure(figsize=(3 * len(axes), 5.5), layout="constrained")
    panels = figure.subplots(2, len(axes), sharex="col", squeeze=False)
    for column, axis in enumerate(axes):
        rows = [row for row in table.rows if row[0] == axis]
        labels = [str(row[1]) for row in rows]
        for panel, place, color in zip(panels[:, column], (2, 3), ("C0", "C1"), strict=True):
            panel.plot(labels, [row[place] for row in rows], "o-", color=color)
            panel.set_ylim(bottom=0)
            panel.grid(alpha=0.3)
        panels[1, column].set_xlabel(axis.replace("_", " "))
    panels[0, 0].set_ylabel("training images / s")
    panels[1, 0].set_ylabel("10⁹ multiply-adds / s")
    figure.savefig(path, dpi=110)


@benchmark
@click.option("--axes", default=",".join((*AXES, "threads")), show_default=True)
@click.option("--base", default="", help="Changes of the first row, such as layers=3,size=14.")
def main(axes: str, base: str, device: str, out: Path, rounds: int) -> None:
    """Images a second against batch size, image size, layers, channels, kernel and threads."""
    options: dict[str, Any] = BASE | {"device": device}
    options |= dict(change.split("=") for change in base.split(",") if change)
    points = {("base", ""): (make_training(**options), None)}
    for axis in axes.split(","):
        if axis != "threads":
            for value in AXES[axis]:
                points[axis, value] = (make_training(**options | {axis: value}), None)
        elif points["base", ""][0].hardware.device.type == "cpu":
            for threads in threads_to_try():
                points[axis, threads] = (make_training(**options), threads)
    steps = {
        point: training.train_step if threads is None else limited(training, threads)
        for point, (training, threads) in points.items()
    }
    hardware = points["base", ""][0].hardware
    seconds = by_turns(steps, rounds=rounds, turn=1, device=hardware.device)
    rows: list[tuple[Any, ...]] = []
    for (axis, value), mine in seconds.items():
        training = points[axis, value][0]
        facts, _ = training.task.network_facts(training.model)
        speed = training.settings.batch_size / sorted(mine)[len(mine) // 2]
        giga = 3 * facts["multiply_adds"] * speed / 1e9
        relative = giga / rows[0][3] if rows else 1
        rows.append((axis, value, round(speed, 1), round(giga, 1), round(relative, 2)))
    columns = ("setting", "value", "images_per_second", "gmac_per_second", "relative")
    table = Table("scaling", columns, rows)
    click.echo(write(out, "scaling", table, hardware, CLAIM))
    plot(table, out / "scaling.png")


if __name__ == "__main__":
    main()
