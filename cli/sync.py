"""``sync``: upload runs to a W&B server."""

from __future__ import annotations

from pathlib import Path

import click

from common.errors import InputError


@click.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, metavar="RUN...")
def sync(runs: tuple[Path, ...]) -> None:
    """Upload RUNs that were tracked offline, or whose server did not take everything.

    RUN is a run folder, or a folder of runs such as that of a sweep. All parts of a resumed run
    are uploaded in order; what is on the server already is passed over.

    Example: python train.py sync runs
    """
    if not runs:
        raise InputError("RUN: missing; give run folders or a folder of them, for example runs")
    from tracking.sync import sync as upload

    for line in upload(runs):
        click.echo(line)
