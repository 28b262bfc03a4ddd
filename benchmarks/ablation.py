"""What each trick of the loop gives: the loop with one of them switched off at a time.

python -m benchmarks.ablation
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from benchmarks.common import benchmark, interleave, make_trainer, ratios, write
from benchmarks.textbook import shuffled_batches, use_conv_transpose
from common.media import Table
from models.layers import GELU, Layer
from tasks.base import Sample
from tracking.api import offline_run
from training.hardware import Hardware
from training.trainer import Trainer

CLAIM = (
    "How many times as long a step (or the validation of 500 images) takes with one thing "
    "switched off (median and range over the rounds, in which all took turns)."
)
ROOT = Path(__file__).resolve().parent.parent
Step = Callable[[], object]


class Contiguous(Hardware):
    """The same in PyTorch's default memory layout."""

    def prepare(self, model: nn.Module) -> nn.Module:
        return model.to(self.device)


def gelus_of_pytorch(model: nn.Module) -> None:
    """Put PyTorch's own GELU in place of the one that reaches oneDNN's."""
    for layer in model.modules():
        if isinstance(layer, Layer) and isinstance(layer.act, GELU):
            layer.act = nn.GELU()


def with_loader(training: Trainer) -> Step:
    """Batches from a ``DataLoader`` with two workers and transforms per image."""
    batches = shuffled_batches(training.task.data.train.images, training.settings.batch_size)
    device = training.hardware.device

    def prepare(batch: object) -> Sample:
        inputs, targets = (
            x.to(device).contiguous(memory_format=torch.channels_last) for x in next(batches)
        )
        return Sample(inputs, targets, torch.empty(0, dtype=torch.bool))

    training.task.prepare = prepare
    return training.train_step


def with_optimizer(training: Trainer, **options: Any) -> Step:
    """Another implementation of AdamW."""
    settings = training.settings
    training.optimizer = torch.optim.AdamW(
        training.net.parameters(), settings.lr, weight_decay=settings.weight_decay, **options
    )
    return training.train_step


def with_zeroed_gradients(training: Trainer) -> Step:
    """Gradients filled with zeros in place of being dropped."""
    optimizer: Any = training.optimizer
    zero = optimizer.zero_grad
    optimizer.zero_grad = lambda set_to_none: zero(set_to_none=False)
    return training.train_step


def with_log_every_step(training: Trainer, log: Callable[[dict[str, float]], object]) -> Step:
    """The loss read and logged every step."""

    def step() -> None:
        training.train_step()
        log(training.meter.read())

    return step


def variants(options: dict[str, Any], log: Callable[[dict[str, float]], object]) -> dict[str, Step]:
    """The loop as it is, then with one thing off at a time."""

    def make(**changes: Any) -> Trainer:
        return make_trainer(**options | changes)

    plain = {"change_hardware": lambda hardware: Contiguous(**vars(hardware))}
    on_cuda: dict[str, Step] = {}
    if torch.cuda.is_available():
        on_cuda["CUDA graphs off"] = make(cuda_graphs=False).train_step
    return on_cuda | {
        "as it is": make().train_step,
        "fp32 (bf16 off)": make(precision="fp32").train_step,
        "contiguous (channels_last off)": make(**plain).train_step,
        "ConvTranspose2d (plain conv off)": make(change_model=use_conv_transpose).train_step,
        "nn.GELU (oneDNN's kernel off)": make(change_model=gelus_of_pytorch).train_step,
        "DataLoader (data on the device off)": with_loader(make()),
        "AdamW by foreach (fused off)": with_optimizer(make(), foreach=True),
        "AdamW by a loop (fused off)": with_optimizer(make(), foreach=False),
        "gradients zeroed (set_to_none off)": with_zeroed_gradients(make()),
        "W&B every step (interval off)": with_log_every_step(make(), log),
    }


# A process of its own, because memory once kept is used again whatever the thresholds are.
ALLOCATOR = """
import sys, time
from training import hardware
from benchmarks.common import make_trainer
if sys.argv[1] == "off":
    hardware._keep_freed_memory = lambda: None
for precision in sys.argv[4:]:
    training = make_trainer(
        layers=3, size=sys.argv[2], batch_size=int(sys.argv[3]), precision=precision, device="cpu"
    )
    for step in range(2):
        training.train_step()
    start = time.perf_counter()
    for step in range(4):
        training.train_step()
    print((time.perf_counter() - start) / 4)
"""


def allocator(
    size: int, batch_size: int, precisions: list[str], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds a step of three layers with and without glibc keeping freed memory, on CPU."""
    names = {"on": "as it is", "off": "glibc as it comes (allocator off)"}
    seconds = {p: {name: [] for name in names.values()} for p in precisions}
    for _ in range(rounds):
        for switch, name in names.items():
            command = [sys.executable, "-c", ALLOCATOR, switch, str(size), str(batch_size)]
            done = subprocess.run(
                [*command, *precisions], cwd=ROOT, capture_output=True, text=True, check=True
            )
            for precision, line in zip(precisions, done.stdout.split(), strict=True):
                seconds[precision][name].append(float(line))
    return seconds


def validation(training: Trainer, *, gradients: bool) -> Step:
    """One validation, with or without what a backward pass would need."""

    def step() -> None:
        training.net.eval()
        with torch.set_grad_enabled(gradients):
            training.task.validate(training.forward, training.hardware.device)
        training.net.train()

    return step


@benchmark
@click.option("--layers", default=11, show_default=True)
@click.option("--ks", default="3", show_default=True)
@click.option("--large", default=64, show_default=True, help="Image size for the allocator.")
@click.option("--batch-size", default=64, show_default=True)
@click.option("--turn", default=5, show_default=True, help="Steps of one turn.")
def main(
    layers: int, ks: str, large: int, batch_size: int, turn: int,
    device: str, out: Path, rounds: int,
) -> None:  # fmt: skip
    """The loop with one trick switched off at a time."""
    options = {"layers": layers, "ks": ks, "batch_size": batch_size, "device": device}
    rows: list[tuple[Any, ...]] = []

    def compare(where: str, seconds: dict[str, list[float]]) -> None:
        for name, mine in seconds.items():
            middle = sorted(mine)[len(mine) // 2]
            rows.append((where, name, round(middle * 1000, 1), *ratios(mine, seconds["as it is"])))

    training = make_trainer(**options)
    hardware = training.hardware
    where = f"{layers} layers, {'x'.join(map(str, training.task.data.train.images.shape[2:]))}"
    with tempfile.TemporaryDirectory() as folder:
        run = offline_run(folder, "ablation")
        steps = variants(options, run.log)
        timing = {"rounds": rounds, "device": hardware.device}
        compare(f"step, {where}", interleave(steps, turn=turn, **timing))
        run.finish()
    steps = {"as it is": validation(training, gradients=False)}
    steps["gradients on (no_grad off)"] = validation(training, gradients=True)
    compare(f"validation, {where}", interleave(steps, turn=1, **timing))
    if hardware.device.type == "cpu":
        precisions = ["fp32", "bf16"] if hardware.dtype == torch.bfloat16 else ["fp32"]
        for precision, seconds in allocator(large, batch_size, precisions, rounds).items():
            compare(f"step, 3 layers, {large}x{large}, {precision}", seconds)
    columns = ("what", "variant", "milliseconds", "times_as_long", "range")
    click.echo(write(out, "ablation", Table("ablation", columns, rows), hardware, CLAIM))


if __name__ == "__main__":
    main()
