"""``export``: runs in the form of other tools."""

from __future__ import annotations

from pathlib import Path

import click

from common.errors import InputError


@click.command()
@click.argument("source")
@click.option(
    "--to", "target", type=(str, str), metavar="tensorboard DIR", required=True,
    help="Form and place of the output.",
)  # fmt: skip
@click.option("--runs-dir", default="runs", metavar="FOLDER", help="Where run folders are.")
def export(source: str, target: tuple[str, str], runs_dir: str) -> int:
    """Write the runs of SOURCE (a run folder, a folder of runs, a sweep file) for another tool.

    Example: python train.py export runs --to tensorboard logs
    """
    form, place = target
    if form != "tensorboard":
        raise InputError(f"--to {form}: must be tensorboard, for example --to tensorboard logs")
    from reports.collect import collect

    records = collect([source], Path(runs_dir))
    try:
        from reports.export import to_tensorboard
    except ModuleNotFoundError as error:
        raise InputError(f"--to tensorboard: {error}; pip install tensorboard") from None
    number = to_tensorboard(records, Path(place))
    click.echo(f"Wrote {number} runs; look at them with: tensorboard --logdir {place}", err=True)
    return 0
