"""What full W&B logging costs: whole runs, offline and online, against ``--mode disabled``.

Online runs go to the loopback server of the tests, in a process of its own. The training loop is
timed from its first step to its last row: steps, logging, validations, pictures, checkpoints.
Besides, W&B starts and ends once a run.

    python -m benchmarks.tracking --rounds 5
"""

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
from unittest.mock import patch

import click

import experiment.run
from benchmarks.common import COUNT, benchmark, hardware_of, ratios, write
from common.errors import RunError
from common.media import Table
from experiment.run import run
from experiment.settings import Settings

CLAIM = (
    "Medians of whole runs, one mode after the other in each round. `loop` is the time from the "
    "first step to the last row with all that is logged in between, `around` the rest of the run "
    "(W&B's start and end, the last pictures, artifacts); times and range compare `loop`."
)
ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def loopback_server() -> Iterator[None]:
    """W&B's address and key in the environment, as long as the server runs."""
    command = [sys.executable, "-m", "tests.wandb_server"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with patch.dict(os.environ):
        for line in server.stdout or ():
            found = re.fullmatch(r"export (\w+)=(\S+)\n", line)
            if not found:
                break
            os.environ[found[1]] = found[2].strip("'")
        try:
            yield
        finally:
            server.terminate()


def timed_run(options: dict[str, Any]) -> tuple[float, float]:
    """Seconds of a run: its loop from the first step to the last row, and the rest."""
    loops: list[float] = []
    train = experiment.run.train

    def timed(*arguments: Any) -> bool:
        start = time.perf_counter()
        complete = train(*arguments)
        loops.append(time.perf_counter() - start)
        return complete

    start = time.perf_counter()
    with patch.object(experiment.run, "train", timed):
        result = run(Settings.parse("resconv", options), observer=lambda row: None)
    if result.state != "finished":
        raise RunError(f"a run was {result.state}; nothing counts")
    return loops[0], time.perf_counter() - start - loops[0]


@benchmark
@click.option("--layers", type=COUNT, default=11, show_default=True)
@click.option(
    "--images", type=COUNT, default=6_400, show_default=True, help="Training images of a run."
)
@click.option("--val-images", type=COUNT, default=500, show_default=True)
def main(layers: int, images: int, val_images: int, device: str, out: Path, rounds: int) -> None:
    """What W&B logging costs, offline and online, against none."""
    modes = ("disabled", "offline", "online")
    options = {"layers": layers, "images": images, "val_images": val_images, "data": "auto",
               "device": device}  # fmt: skip
    found: dict[str, list[tuple[float, float]]] = {mode: [] for mode in modes}
    with loopback_server(), tempfile.TemporaryDirectory() as folder:
        options["runs_dir"] = folder
        timed_run(options | {"mode": "online"})  # imports and first allocations
        for number in range(rounds):
            for mode in modes if number % 2 else reversed(modes):
                found[mode].append(timed_run(options | {"mode": mode}))
    plain = [loop for loop, _ in found["disabled"]]
    rows = []
    for mode, runs in found.items():
        loops, around = zip(*runs, strict=True)
        medians = [round(statistics.median(seconds), 2) for seconds in (loops, around)]
        rows.append((mode, medians[0], *ratios(loops, plain), medians[1]))
    columns = ("mode", "loop_seconds", "times_disabled", "range", "around_seconds")
    table = Table("tracking", columns, rows)
    click.echo(write(out, "tracking", table, hardware_of(device), CLAIM))


if __name__ == "__main__":
    main()
