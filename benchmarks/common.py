"""What the benchmarks share: turns, ratios, ready-made trainings, and how results are written.

Variants take turns, in one process but for ``RemoteStep``, so that other work on the machine
affects them alike; ratios are medians over the rounds.
"""

from __future__ import annotations

import datetime
import multiprocessing
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from torch import Tensor

from common.files import csv_text, require_writable_folder, write_output
from common.media import Table
from data.images import ImageData
from data.load import load_data
from data.settings import DataSettings
from experiment.settings import Settings
from tasks.restoration import Restoration
from tasks.settings import RestorationSettings
from training.hardware import Hardware, choose_hardware, environment
from training.settings import HardwareSettings
from training.trainer import Trainer

COUNT = click.IntRange(min=1)
Variant = TypeVar("Variant")  # what names it


def _writable(context: click.Context, parameter: click.Parameter, folder: Path) -> Path:
    require_writable_folder(folder, "--out")
    return folder


out_option = click.option(
    "--out", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True,
    callback=_writable, help="Folder for the CSV and markdown files.",
)  # fmt: skip


def benchmark(function: Callable[..., None]) -> click.Command:
    """A command with the options that every benchmark has; its docstring is the help text."""
    for option in (
        out_option,
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N."),
        click.option("--rounds", type=COUNT, default=7, show_default=True, help="Turns of each."),
    ):
        function = option(function)
    return click.command()(function)


@cache
def images(height: int, width: int) -> ImageData:
    """Fashion-MNIST where it lies on this machine, else garments."""
    settings = DataSettings(size=f"{height}x{width}", train_images=6_400, val_images=500)
    return load_data(settings)


def hardware_of(device: str) -> Hardware:
    """The hardware that ``--device`` names. Raises ``InputError``."""
    return choose_hardware(HardwareSettings(device=device))


def make_trainer(
    *,
    change_model: Callable[[torch.nn.Module], object] = lambda model: None,
    change_hardware: Callable[[Hardware], Hardware] = lambda hardware: hardware,
    **options: Any,
) -> Trainer:
    """The project's loop for the logbook's task, seed 0, with a million steps ahead of it."""
    settings = Settings.parse("resconv", {"images": 10**8} | options)
    data = images(*settings.data.height_width)
    if not isinstance(settings.task, RestorationSettings):
        raise TypeError("resconv is a restoration")
    task = Restoration(settings.command, settings.net, settings.task, data)
    torch.manual_seed(settings.training.seed)
    model = task.build_net()
    change_model(model)
    hardware = change_hardware(choose_hardware(settings.hardware))
    every = settings.tracking.log_every
    training = Trainer(task, model, settings.training, hardware, log_every=every)
    training.net.train()
    return training


def seconds_of(step: Callable[[], object], device: torch.device, steps: int) -> float:
    """How long so many steps take, until all work handed to the device is done."""
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return time.perf_counter() - start


class RemoteStep:
    """``with``: a step in a process of its own, made there by ``make(*arguments)``."""

    def __init__(self, device: torch.device, make: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.ours, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, device, make, arguments))

    def __enter__(self) -> RemoteStep:
        self.process.start()
        return self

    def seconds(self, steps: int) -> float:
        """How long so many steps take there. Raises ``EOFError`` if that process has ended."""
        self.ours.send(steps)
        return self.ours.recv()

    def __exit__(self, *error: Any) -> None:
        self.ours.send(0)
        self.process.join()


def _serve(
    pipe: Connection, device: torch.device, make: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    step = make(*arguments)
    while steps := pipe.recv():
        pipe.send(seconds_of(step, device, steps))


def interleave(
    steps: Mapping[Variant, Callable[[], object] | RemoteStep],
    *,
    rounds: int,
    turn: int,
    device: torch.device,
    warm_up: int = 2,
    run_in: int = 0,
) -> dict[Variant, list[float]]:
    """Seconds a step of each round: in a round each has its ``turn`` of so many steps.

    The first ``warm_up`` steps do not count, nor the first ``run_in`` of each turn, which use up
    the batches that workers have prefetched meanwhile.
    """
    timed = {
        name: step.seconds if isinstance(step, RemoteStep) else partial(seconds_of, step, device)
        for name, step in steps.items()
    }
    for seconds in timed.values():
        seconds(warm_up)
    found: dict[Variant, list[float]] = {name: [] for name in steps}
    order = list(steps)
    for _ in range(rounds):
        for name in order:
            if run_in:
                timed[name](run_in)
            found[name].append(timed[name](turn) / turn)
        order.reverse()
    return found


def ratios(seconds: Sequence[float], other: Sequence[float]) -> tuple[float, str]:
    """How many times as long as ``other``: median over the rounds, and the range."""
    each = [mine / its for mine, its in zip(seconds, other, strict=True)]
    return round(statistics.median(each), 3), f"{min(each):.2f}-{max(each):.2f}"


def step_memory_mib(step: Callable[[], object], device: torch.device) -> float:
    """Memory of one step: peak allocated on CUDA, saved for the backward pass on CPU.

    The latter counts each storage once, parameters too; of a checkpointed layer, its input.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) / 2**20
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step()
    return sum(saved.values()) / 2**20


def write(out: Path, name: str, table: Table, hardware: Hardware, claim: str) -> str:
    """Write ``out``/``name``.csv and .md; returns the latter's text.

    It has the claim, the command, machine, versions and load averages, and the table.
    """
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    load = "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg())
    about = {"date": datetime.date.today()} | environment(hardware) | {"load": load}
    text = ", ".join(f"{k} {v}" for k, v in about.items() if v is not None)
    command = shlex.join(["python", *sys.orig_argv[1:]])
    lines = [f"# {table.name}", "", claim, "", f"`{command}`", "", f"{text}.", ""]
    lines += ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    for row in table.rows:
        lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |")
    page = "\n".join(lines) + "\n"
    write_output(out / f"{name}.csv", csv_text(rows))
    write_output(out / f"{name}.md", page)
    return page
