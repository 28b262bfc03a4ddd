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
@click.option("--rank", type=COUNT, default=1, show_default=True, help="Rank of the selections.")
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
    from rich.console import Console
    from rich.table import Table

    from benchmarks.conv import Plan, bench

    table = bench(Plan(**plan), device=device, out=out, mode=mode, project=project)
    title = f"Time as a share of the full conv's; also in {out / 'conv.md'}"
    shown = Table(title=title, title_justify="left")
    for column in ("conv", "settings", "images/s", "of full", "MiB"):
        shown.add_column(column, no_wrap=True)
    for row in (dict(zip(table.columns, row, strict=True)) for row in table.rows):
        name = "full" if row["conv"] == "full" else f"select, {row['implementation']}"
        settings = f"{row['memory']} {row['precision']}"
        settings += " compiled" if row["compiled"] == "yes" else ""
        figures = [row[c] for c in ("images_per_second", "ratio_to_full", "peak_memory_mib")]
        shown.add_row(name, settings, *(map(str, figures) if not row["note"] else [row["note"]]))
    Console().print(shown)
