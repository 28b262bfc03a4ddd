"""Memory and speed of a net that did not fit the logbook's 6 GB graphics card.

30 layers at 64x64, batch 64. On CUDA the peak of the device memory in use; on CPU the bytes that
autograd keeps for the backward pass, which is where almost all of it goes.

    python -m benchmarks.memory --rounds 3
"""

import statistics
from pathlib import Path

import click

from benchmarks.common import (
    COUNT,
    benchmark,
    interleave,
    make_trainer,
    ratios,
    step_memory_mib,
    write,
)
from common.media import Table

CLAIM = (
    "Memory of a training step (CUDA: peak allocated; CPU: saved for the backward pass), and how "
    "many times as long it takes as plain fp32 (median and range over the rounds)."
)


@benchmark
@click.option("--layers", type=COUNT, default=30, show_default=True)
@click.option("--size", type=COUNT, default=64, show_default=True)
@click.option("--batch-size", type=COUNT, default=64, show_default=True)
def main(layers: int, size: int, batch_size: int, device: str, out: Path, rounds: int) -> None:
    """Memory and speed in fp32, in bf16, and with recomputed activations."""
    options = {"layers": layers, "size": size, "batch_size": batch_size, "device": device}
    recomputed = {"checkpoint_activations": True}
    variants = {
        "fp32": {"precision": "fp32"},
        "fp32, --checkpoint-activations": {"precision": "fp32"} | recomputed,
        "bf16": {"precision": "bf16"},
        "bf16, --checkpoint-activations": {"precision": "bf16"} | recomputed,
    }
    trainings = {name: make_trainer(**options | more) for name, more in variants.items()}
    hardware = trainings["bf16"].hardware
    steps = {name: training.train_step for name, training in trainings.items()}
    memory = {name: step_memory_mib(step, hardware.device) for name, step in steps.items()}
    seconds = interleave(steps, rounds=rounds, turn=1, device=hardware.device, warm_up=1)
    rows = [
        (
            name,
            round(memory[name], 1),
            round(memory[name] / memory["fp32"], 3),
            round(statistics.median(mine), 3),
            *ratios(mine, seconds["fp32"]),
        )
        for name, mine in seconds.items()
    ]
    columns = ("variant", "mib", "of_fp32", "seconds", "times_as_long", "range")
    click.echo(write(out, "memory", Table("memory", columns, rows), hardware, CLAIM))


if __name__ == "__main__":
    main()
