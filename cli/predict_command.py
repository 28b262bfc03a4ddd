"""``predict``: label a folder of images with a trained classifier."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default="submission.csv", show_default=True,
    help="The CSV file to write: id, label and the probability of each class.",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def predict(checkpoint: Path, folder: Path, out: Path, device: str) -> None:
    """Label every image in FOLDER with the classifier in CHECKPOINT (a .pt file or a run folder).

    Example: python train.py predict runs/NAME-ID photos --out submission.csv
    """
    from inference.predict import predict_folder

    click.echo(predict_folder(checkpoint, folder, out, device=device))
