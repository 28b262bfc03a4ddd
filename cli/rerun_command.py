"""``rerun``: train an earlier run again and compare."""

from __future__ import annotations

import click


@click.command()
@click.argument("run")
@click.option("--device", help="auto, cpu, cuda or cuda:N [default: auto].")
@click.option("--mode", help="W&B mode: online, offline or disabled.")
@click.option("--data-root", metavar="FOLDER", help="Where the data set's files are now.")
@click.option("--runs-dir", metavar="FOLDER", help="Where run folders are [default: runs].")
def rerun(run: str, **given: str | None) -> int:
    """Train RUN (a run folder, its id or a W&B path) again and say if the numbers come back.

    The data must be the same bytes; differences in code, libraries and device are listed. Exit
    code 0 if the final figures match exactly or within float noise (a thousandth), else 1.

    Example: python train.py rerun runs/NAME-ID
    """
    from inference.rerun import rerun as again

    return again(run, {k: v for k, v in given.items() if v is not None}, click.echo)
