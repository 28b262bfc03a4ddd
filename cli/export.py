"""``export``: runs and trained nets in the form of other tools."""

from pathlib import Path

import click

from common.errors import InputError, one_of
from tracking.folder import find_run_folder

PACKAGES = {
    "tensorboard": "tensorboard",
    "onnx": "onnx onnxscript",
    "torch": "torch",
    "hub-folder": "safetensors",
}  # what each form needs


@click.command()
@click.argument("source")
@click.option(
    "--to", "target", type=(str, str), metavar="FORM PATH", required=True,
    help="tensorboard FOLDER, onnx FILE, torch FILE or hub-folder FOLDER.",
)  # fmt: skip
@click.option("--runs-dir", default="runs", metavar="FOLDER", help="Where run folders are.")
def export(source: str, target: tuple[str, str], runs_dir: str) -> int:
    """Write SOURCE for another tool.

    \b
    tensorboard  the figures, pictures and settings of runs (a folder of runs, a sweep file)
    onnx         the best net of a run, checked on its demo images
    torch        the same as a program of torch.export (.pt2), which needs none of this code
    hub-folder   weights, settings and model card of a run, to publish; nothing is uploaded

    Example: python train.py export runs/NAME-ID --to onnx net.onnx
    """
    form, place = target
    if form not in PACKAGES:
        raise InputError(f"--to {form}: {one_of(form, PACKAGES)}")
    try:
        line = _write(source, form, Path(place), Path(runs_dir))
    except ModuleNotFoundError as error:
        raise InputError(
            f"--to {form}: {error.name} is not installed; pip install {PACKAGES[form]}"
        ) from None
    except OSError as error:
        raise InputError(f"{place}: cannot be written ({error.strerror})") from None
    click.echo(line, err=True)
    return 0


def _write(source: str, form: str, place: Path, runs_dir: Path) -> str:
    if form == "tensorboard":
        from reports.collect import collect

        records = collect([source], runs_dir)
        from reports.export import to_tensorboard

        number = to_tensorboard(records, place)
        return f"Wrote {number} runs; view with: tensorboard --logdir {place}"
    source = str(find_run_folder(source, runs_dir) or source)
    if form == "hub-folder":
        from inference.hub_folder import write_hub_folder

        write_hub_folder(Path(source), place)
        return f"Wrote {place}; nothing was uploaded (hf upload NAME {place} would)"
    from inference.export import export_program

    return export_program(Path(source), form, place)
