"""How long it takes until something happens: help, the first training step, the data.

    python -m benchmarks.startup
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.common import benchmark, write
from common.media import Table
from data.load import load_data
from experiment.settings import settings_from
from training.hardware import choose_hardware

CLAIM = (
    "Seconds, median and range over the rounds; commands in processes of their own. Processor "
    "seconds do not grow with the machine's other work."
)
ROOT = Path(__file__).resolve().parent.parent
# The command line itself, ended by the first step's end.
FIRST_STEP = """
import os, sys
from training.hardware import Hardware
from training.trainer import Training

def first_step(training):
    step(training)
    training.hardware.synchronize()
    os._exit(0)

step, Training.train_step = Training.train_step, first_step
from train import main
main(sys.argv[1:])
"""


def clocked(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds that a step takes, and processor seconds of this process and its children."""
    before, start = os.times(), time.perf_counter()
    step()
    seconds, after = time.perf_counter() - start, os.times()
    return seconds, sum(after[:4]) - sum(before[:4])


@benchmark
@click.option("--layers", default=11, show_default=True)
def main(layers: int, device: str, out: Path, rounds: int) -> None:
    """Seconds to the help text, to the first training step, and to the data on the device."""
    hardware = choose_hardware(settings_from("resconv", {"device": device}))

    def command(*arguments: str) -> Callable[[], None]:
        def call() -> None:
            options = {"cwd": ROOT, "check": True, "capture_output": True}
            subprocess.run([sys.executable, *arguments], **options)

        return call

    def ready(name: str) -> Callable[[], None]:
        def call() -> None:
            data = load_data(name, size=(28, 28))
            data.train.images.to(hardware.device)

        return call

    with tempfile.TemporaryDirectory() as folder:
        first = ["resconv", "--layers", str(layers), "--device", device, "--runs-dir", folder]
        steps = {
            "train.py --help": command("train.py", "--help"),
            "first step, W&B offline": command("-c", FIRST_STEP, *first, "--mode", "offline"),
            "first step, W&B disabled": command("-c", FIRST_STEP, *first, "--mode", "disabled"),
            "data: real if here (auto)": ready("auto"),
            "data: garments, 6,000 + 1,000": ready("garments"),
        }
        clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
        for _ in range(rounds):
            for name, step in steps.items():
                clocks[name].append(clocked(step))
    rows = []
    for name, mine in clocks.items():
        seconds, processor = zip(*mine, strict=True)
        spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
        middle = round(statistics.median(seconds), 2)
        rows.append((name, middle, spread, round(statistics.median(processor), 2)))
    columns = ("what", "seconds", "range", "processor_seconds")
    click.echo(write(out, "startup", Table("startup", columns, rows), hardware, CLAIM))


if __name__ == "__main__":
    main()
