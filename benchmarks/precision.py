"""Whether bf16 costs accuracy: the same runs in fp32 and bf16 over several seeds.

The logbook's author got validation L1 0.1274, 0.1246 and 0.1211 with this budget in fp32.

    python -m benchmarks.precision --rounds 3
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import click

from benchmarks.common import benchmark, write
from common.media import Table
from experiment.run import run
from experiment.settings import settings_from
from training.hardware import choose_hardware

CLAIM = (
    "Validation L1 of whole runs, a column a seed; weights, order and erased halves of a seed "
    "are the same in both precisions."
)


@benchmark
@click.option("--layers", default=3, show_default=True)
@click.option("--images", default=12_800, show_default=True, help="Training images of a run.")
@click.option("--val-images", default=10_000, show_default=True)
@click.option("--data", default="fashion-mnist", show_default=True)
def main(
    layers: int, images: int, val_images: int, data: str, device: str, out: Path, rounds: int
) -> None:
    """Validation L1 in fp32 and bf16; --rounds is the number of seeds."""
    options = {"layers": layers, "images": images, "val_images": val_images, "data": data,
               "device": device, "mode": "disabled"}  # fmt: skip
    rows = []
    for precision in ("fp32", "bf16"):
        losses = []
        for seed in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                more = {"precision": precision, "seed": seed, "runs_dir": folder}
                result = run(settings_from("resconv", options | more), progress=lambda row: None)
            losses.append(result.summary["last"]["val/l1"])
        mean = statistics.mean(losses)
        rows.append((precision, *(round(loss, 4) for loss in losses), round(mean, 4)))
    columns = ("precision", *(f"seed_{seed}" for seed in range(rounds)), "mean")
    hardware = choose_hardware(settings_from("resconv", {"device": device}))
    click.echo(write(out, "precision", Table("precision", columns, rows), hardware, CLAIM))


if __name__ == "__main__":
    main()
