"""What full W&B logging costs: whole runs, offline and online, against ``--mode disabled``.

Online runs go to the loopback server of the tests, in a process of its own. The training loop is
timed from its first step to its last row: steps, logging, validations, pictures, checkpoints.
Besides, W&B starts and ends once a run.

    python -m benchmarks.tracking --rounds 5
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import experiment.run
from benchmarks.common import benchmark, ratios, write
from common.media import Table
from experiment.run import run
from experiment.settings import Settings
from training.hardware import choose_hardware
from training.settings import HardwareSettings

CLAIM = (
    "Medians of whole runs, one mode after the other in each round. `loop` is the time from the "
    "first step to the last row with all that is logged in between, `around` the rest of the run "
    "(W&B's start and end, the last pictures, artifacts); times and range compare `loop`. "
    "`processor` is the loop in processor seconds of the training process, which other work on "
    "the machine disturbs less."
)
ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def loopback_server() -> Iterator[None]:
    """W&B's address and key in the environment, as long as the server runs."""
    command = [sys.executable, "-m", "tests.wandb_server"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    before = dict(os.environ)
    for line in server.stdout or ():
        found = re.fullmatch(r"export (\w+)=(\S+)\n", line)
        if not found:
            break
        os.environ[found[1]] = found[2].strip("'")
    try:
        yield
    finally:
        server.terminate()
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def timed_loop(seconds: list[float], processor: list[float]) -> Iterator[None]:
    """Note how long each training takes from its first step to its last row, by both clocks."""
    train = experiment.run.train

    def timed(*arguments: Any) -> bool:
        start, work = time.perf_counter(), time.process_time()
        complete = train(*arguments)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - work)
        return complete

    experiment.run.train = timed
    try:
        yield
    finally:
        experiment.run.train = train


@benchmark
@click.option("--layers", default=11, show_default=True)
@click.option("--images", default=6_400, show_default=True, help="Training images of a run.")
@click.option("--val-images", default=500, show_default=True)
def main(layers: int, images: int, val_images: int, device: str, out: Path, rounds: int) -> None:
    """What W&B logging costs, offline and online, against none."""
    modes = ("disabled", "offline", "online")
    loops, processor, around = ({mode: [] for mode in modes} for _ in range(3))

    def one(mode: str, folder: str) -> None:
        options = {"layers": layers, "images": images, "val_images": val_images, "data": "auto",
                   "device": device, "mode": mode, "runs_dir": folder}  # fmt: skip
        start = time.perf_counter()
        with timed_loop(loops[mode], processor[mode]):
            run(Settings.parse("resconv", options), observer=lambda row: None)
        around[mode].append(time.perf_counter() - start - loops[mode][-1])

    with loopback_server(), tempfile.TemporaryDirectory() as folder:
        one("online", folder)  # imports and first allocations
        for kept in (loops, processor, around):
            kept["online"].clear()
        for number in range(rounds):
            for mode in modes if number % 2 else reversed(modes):
                one(mode, folder)
    rows = [
        (
            mode,
            round(statistics.median(loops[mode]), 2),
            *ratios(loops[mode], loops["disabled"]),
            round(statistics.median(processor[mode]), 2),
            *ratios(processor[mode], processor["disabled"]),
            round(statistics.median(around[mode]), 2),
        )
        for mode in modes
    ]
    columns = ("mode", "loop_seconds", "times_disabled", "range", "processor_seconds",
               "times_disabled_processor", "range_processor", "around_seconds")  # fmt: skip
    hardware = choose_hardware(HardwareSettings(device=device))
    click.echo(write(out, "tracking", Table("tracking", columns, rows), hardware, CLAIM))


if __name__ == "__main__":
    main()
