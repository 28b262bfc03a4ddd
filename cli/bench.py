"""``bench``: the speed measurements that are commands of their own."""

from pathlib import Path
from typing import Any

import click

COUNT = click.IntRange(min=1)


@click.group()
def bench() -> None:
    """Measure speed on this machine."""


@bench.command()
@click.option("--epochs", type=COUNT, default=10, show_default=True, help="Epochs a run.")
@click.option("--runs", type=COUNT, default=5, show_default=True, help="Runs of each variant.")
@click.option("--images", type=COUNT, default=12_000, show_default=True, help="Images an epoch.")
@click.option("--batch-size", type=COUNT, default=128, show_default=True, help="Images a step.")
@click.option("--rank", type=click.IntRange(1, 9), default=1, show_default=True,
              help="Rank of the selections.")  # fmt: skip
@click.option("--compile", "compiled", is_flag=True, help="Measure torch.compile as well.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", type=click.Path(path_type=Path), default="runs/bench",
              show_default=True, help="Folder for conv.csv and conv.md.")  # fmt: skip
@click.option("--project", default=None, help="W&B project.")
@click.option("--mode", type=click.Choice(["online", "offline", "disabled"]), default=None,
              help="W&B mode.")  # fmt: skip
def conv(device: str, out: Path, project: str | None, mode: str | None, **plan: Any) -> None:
    """Time the small net with full convs and with every implementation of channel selection.

    The logbook's ten epochs x five runs take hours on a CPU; a few minutes give the same ratios:

    python train.py bench conv --epochs 1 --images 2560
    """
    from benchmarks.conv import Plan, bench

    click.echo(bench(Plan(**plan), device=device, out=out, mode=mode, project=project))
