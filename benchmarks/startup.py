"""How long it takes until something happens: help, the first training step, the data.

    python -m benchmarks.startup
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.common import benchmark, by_turns, write
from data.catalog import load_data
from training.hardware import choose_hardware
from training.settings import settings_from
from training.showing import Table

CLAIM = "Seconds, median and range over the rounds; commands in processes of their own."
ROOT = Path(__file__).resolve().parent.parent
# The command line itself, ended by the first step's end.
FIRST_STEP = """
import os, sys
from training.hardware import Hardware
from training.loop import Training

def first_step(training):
    step(training)
    training.hardware.synchronize()
    os._exit(0)

step, Training.train_step = Training.train_step, first_step
from train import main
main(sys.argv[1:])
"""


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
            data = load_data(name, root=None, size=(28, 28), train_images=None, val_images=None)
            data.train_images.to(hardware.device)

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
        seconds = by_turns(steps, rounds=rounds, turn=1, device=hardware.device, warm_up=0)
    rows = [
        (name, round(statistics.median(mine), 2), f"{min(mine):.2f}-{max(mine):.2f}")
        for name, mine in seconds.items()
    ]
    columns = ("what", "seconds", "range")
    click.echo(write(out, "startup", Table("startup", columns, rows), hardware, CLAIM))


if __name__ == "__main__":
    main()
