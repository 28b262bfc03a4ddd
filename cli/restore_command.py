"""``restore``: a trained net at work on image files."""

from __future__ import annotations

from pathlib import Path

import click

from common.errors import InputError, nearest

ERASE = ("left", "right", "top", "bottom", "none")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, metavar="IMAGE...")
@click.option(
    "--erase", "side", default="none", show_default=True, metavar="|".join(ERASE),
    help="Erase this half first, and say how well it came back.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Where the results go [default: beside each image].",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def restore(
    checkpoint: Path, images: tuple[Path, ...], side: str, out: Path | None, device: str
) -> None:
    """Restore each IMAGE (a file of any size, or a folder) with the net in CHECKPOINT.

    CHECKPOINT is a .pt file or a run folder. The result is a PNG of the same size called
    NAME-restored.png.

    Example: python train.py restore runs/NAME-ID photo.png --erase right
    """
    if side not in ERASE:
        raise InputError(
            f"--erase {side}: must be one of {', '.join(ERASE)}.{nearest(side, ERASE)}"
        )
    missing = [path for path in images if not path.exists()]
    if missing or not images:
        what = f"{missing[0]}: no such file" if missing else "no image given"
        raise InputError(f"{what}; give images or folders of them, for example photo.png")
    from inference.restore import load_restorer, restore_files

    restorer = load_restorer(checkpoint, device)
    try:
        for line in restore_files(restorer, images, side=side, out=out):
            click.echo(line)
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be written ({error.strerror}); give a folder with --out"
        ) from None
