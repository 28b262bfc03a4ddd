"""Where a training step goes, by kind of work.

    python -m benchmarks.profile
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import benchmark, make_training, write
from common.media import Table
from experiment.settings import ACTIVATIONS
from training.trainer import Training

CLAIM = (
    "Milliseconds of a training step by kind of work (CUDA: of its kernels), median over the "
    "rounds."
)
OTHER = "skip additions, casts, loss, optimizer, batch"


def kind_of(operation: str) -> str:
    """The part of the network whose work an operation's (or a kernel's) name tells."""
    name = operation.lower()
    if "batch_norm" in name or "bn_" in name or "batchnorm" in name:
        return "batch norm"
    if any(word in name for word in (*ACTIVATIONS, "elu", "threshold", "clamp", "log_sigmoid")):
        return "activations"
    if any(word in name for word in ("conv", "fprop", "dgrad", "wgrad", "gemm")):
        return "convs"
    return OTHER


def milliseconds(training: Training, steps: int) -> Counter[str]:
    """Time of one step by ``kind_of``, without what one operation spends in another."""
    on_cuda = training.hardware.device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        for _ in range(steps):
            training.train_step()
        training.hardware.synchronize()
    spent: Counter[str] = Counter()
    for row in profiled.key_averages():
        own = row.self_device_time_total if on_cuda else row.self_cpu_time_total
        spent[kind_of(row.key)] += own / 1000 / steps
    return spent


@benchmark
@click.option("--layers", default=11, show_default=True)
@click.option("--ks", default="3", show_default=True)
@click.option("--act", default="gelu", show_default=True)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--turn", default=10, show_default=True, help="Steps of one round.")
def main(
    layers: int, ks: str, act: str, batch_size: int, turn: int,
    device: str, out: Path, rounds: int,
) -> None:  # fmt: skip
    """Where a training step goes, by kind of work."""
    training = make_training(layers=layers, ks=ks, act=act, batch_size=batch_size, device=device)
    for _ in range(2):
        training.train_step()
    each = [milliseconds(training, turn) for _ in range(rounds)]
    middle = {kind: sorted(m[kind] for m in each)[rounds // 2] for kind in each[0]}
    total = sum(middle.values())
    rows = [
        (kind, round(spent, 1), round(spent / total, 3))
        for kind, spent in sorted(middle.items(), key=lambda item: -item[1])
    ]
    rows.append(("whole step", round(total, 1), 1.0))
    table = Table("profile", ("part", "milliseconds", "share"), rows)
    click.echo(write(out, "profile", table, training.hardware, CLAIM))


if __name__ == "__main__":
    main()
