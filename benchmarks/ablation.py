"""What each trick of the loop gives: the loop with one of them switched off at a time.

python -m benchmarks.ablation
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

import training.hardware
from benchmarks.common import COUNT, RemoteStep, benchmark, interleave, make_trainer, ratios, write
from benchmarks.textbook import PREFETCHED, shuffled_batches, use_conv_transpose
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


def with_loader(trainer: Trainer) -> Step:
    """Batches from a ``DataLoader`` with two workers and transforms per image."""
    batches = shuffled_batches(trainer.task.data.train.images, trainer.settings.batch_size)
    device = trainer.hardware.device

    def prepare(batch: object) -> Sample:
        inputs, targets = (
            x.to(device).contiguous(memory_format=torch.channels_last) for x in next(batches)
        )
        return Sample(inputs, targets, torch.empty(0, dtype=torch.bool))

    trainer.task.prepare = prepare
    return trainer.train_step


def with_optimizer(trainer: Trainer, **options: Any) -> Step:
    """Another implementation of AdamW."""
    settings = trainer.settings
    trainer.optimizer = torch.optim.AdamW(
        trainer.net.parameters(), settings.lr, weight_decay=settings.weight_decay, **options
    )
    return trainer.train_step


def with_zeroed_gradients(trainer: Trainer) -> Step:
    """Gradients filled with zeros in place of being dropped."""
    optimizer: Any = trainer.optimizer
    zero = optimizer.zero_grad
    optimizer.zero_grad = lambda set_to_none: zero(set_to_none=False)
    return trainer.train_step


def with_log_every_step(trainer: Trainer, log: Callable[[dict[str, float]], object]) -> Step:
    """The loss read and logged every step."""

    def step() -> None:
        trainer.train_step()
        log(trainer.meter.read())

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


def allocator_step(kept: bool, options: dict[str, Any]) -> Step:
    """A step with glibc keeping freed memory, or with glibc as it comes.

    For a process of its own: memory once kept is used again whatever the thresholds are.
    """
    if not kept:
        training.hardware._keep_freed_memory = lambda: None
    return make_trainer(**options).train_step


def validation(trainer: Trainer, *, gradients: bool) -> Step:
    """One validation, with or without what a backward pass would need."""

    def step() -> None:
        trainer.net.eval()
        with torch.set_grad_enabled(gradients):
            trainer.task.validate(trainer.forward, trainer.hardware.device)
        trainer.net.train()

    return step


@benchmark
@click.option("--layers", type=COUNT, default=11, show_default=True)
@click.option("--ks", default="3", show_default=True)
@click.option(
    "--large", type=COUNT, default=64, show_default=True, help="Image size for the allocator."
)
@click.option("--batch-size", type=COUNT, default=64, show_default=True)
@click.option("--turn", type=COUNT, default=5, show_default=True, help="Steps of one turn.")
def main(
    layers: int, ks: str, large: int, batch_size: int, turn: int,
    device: str, out: Path, rounds: int,
) -> None:  # fmt: skip
    """The loop with one trick switched off at a time."""
    options = {"layers": layers, "ks": ks, "batch_size": batch_size, "device": device}
    rows: list[tuple[Any, ...]] = []

    def compare(where: str, seconds: dict[str, list[float]]) -> None:
        for name, mine in seconds.items():
            middle = statistics.median(mine)
            rows.append((where, name, round(middle * 1000, 1), *ratios(mine, seconds["as it is"])))

    trainer = make_trainer(**options)
    hardware = trainer.hardware
    timing = {"rounds": rounds, "device": hardware.device}
    where = f"{layers} layers, {'x'.join(map(str, trainer.task.data.train.images.shape[2:]))}"
    with tempfile.TemporaryDirectory() as folder:
        run = offline_run(folder, "ablation")
        steps = variants(options, run.log)
        compare(f"step, {where}", interleave(steps, turn=turn, run_in=PREFETCHED, **timing))
        run.finish()
    steps = {"as it is": validation(trainer, gradients=False)}
    steps["gradients on (no_grad off)"] = validation(trainer, gradients=True)
    compare(f"validation, {where}", interleave(steps, turn=1, **timing))
    if hardware.device.type == "cpu":
        options = {"layers": 3, "size": large, "batch_size": batch_size, "device": "cpu"}
        for precision in ["fp32", "bf16"] if hardware.dtype == torch.bfloat16 else ["fp32"]:
            options["precision"] = precision
            with (
                RemoteStep(hardware.device, allocator_step, True, options) as kept,
                RemoteStep(hardware.device, allocator_step, False, options) as freed,
            ):
                both = {"as it is": kept, "glibc as it comes (allocator off)": freed}
                seconds = interleave(both, turn=4, **timing)
            compare(f"step, 3 layers, {large}x{large}, {precision}", seconds)
    columns = ("what", "variant", "milliseconds", "times_as_long", "range")
    click.echo(write(out, "ablation", Table("ablation", columns, rows), hardware, CLAIM))


if __name__ == "__main__":
    main()
