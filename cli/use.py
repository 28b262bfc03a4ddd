"""``restore``, ``predict``, ``export``, ``rerun``, ``sync``: what is done with a finished run."""

from pathlib import Path

import click

from common.errors import InputError, one_of
from data.scan import SUFFIXES
from tracking.folder import find_run_folder

ERASE = ("left", "right", "top", "bottom", "none")
_PATH = click.Path(path_type=Path)
RUNS = Path("runs")  # where a run is looked for by its id
_PACKAGES = {
    "tensorboard": "tensorboard", "onnx": "onnx onnxscript", "torch": "torch",
    "hub-folder": "safetensors",
}  # what each form of export needs  # fmt: skip


@click.command()
@click.argument("checkpoint", type=_PATH)
@click.argument("images", type=_PATH, nargs=-1, metavar="IMAGE...")
@click.option(
    "--erase", "side", default="none", show_default=True, metavar="|".join(ERASE),
    help="Erase this half before restoring, and report the error.",
)  # fmt: skip
@click.option("--mask", type=_PATH, metavar="FILE", help="Restore the white pixels of this image.")
@click.option("--raw", is_flag=True, help="Give the net's own output also where pixels are known.")
@click.option(
    "--out", type=_PATH, metavar="FOLDER", help="Folder of the results [default: beside the image]."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def restore(
    checkpoint: Path, images: tuple[Path, ...], side: str, mask: Path | None, raw: bool,
    out: Path | None, device: str,
) -> None:  # fmt: skip
    """Restore each IMAGE (a file of any size, or a folder) with the net in CHECKPOINT.

    CHECKPOINT is a .pt file, a run folder or the id of one in runs. The result is a PNG of the same
    size called NAME-restored.png. With --erase or --mask the other pixels are those of the image.

    Example: python train.py restore runs/NAME-ID photo.png --erase right
    """
    if side not in ERASE:
        raise InputError(f"--erase {side}: {one_of(side, ERASE)}")
    if mask and side != "none":
        raise InputError("--mask with --erase: give one of them, for example --mask mask.png")
    missing = [path for path in images if not path.exists()]
    if missing or not images:
        what = f"{missing[0]}: no such file" if missing else "no image given"
        raise InputError(f"{what}; give images or folders of them, for example photo.png")
    if out and out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise InputError(f"--out {out}: names a folder for the results, for example --out restored")
    from experiment.display import BrokenPipeSafeConsole
    from inference.restore import Job, load_restorer, restore_files

    restorer = load_restorer(find_run_folder(str(checkpoint), RUNS) or checkpoint, device)
    console = BrokenPipeSafeConsole()  # a closed pipe (| head -1) must not end the work
    for line in restore_files(restorer, images, Job(side, mask, raw), out=out):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@click.command()
@click.argument("checkpoint", type=_PATH)
@click.argument("folder", type=_PATH)
@click.option(
    "--out", type=_PATH, default="submission.csv", show_default=True,
    help="The CSV file to write: id, label and the probability of each class.",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def predict(checkpoint: Path, folder: Path, out: Path, device: str) -> None:
    """Label every image in FOLDER with the classifier in CHECKPOINT (a .pt file, a run folder or
    its id).

    Example: python train.py predict runs/NAME-ID photos --out submission.csv
    """
    from inference.predict import predict_folder

    checkpoint = find_run_folder(str(checkpoint), RUNS) or checkpoint
    click.echo(predict_folder(checkpoint, folder, out, device=device))


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
    if form not in _PACKAGES:
        raise InputError(f"--to {form}: {one_of(form, _PACKAGES)}")
    try:
        line = _export(source, form, Path(place), Path(runs_dir))
    except ModuleNotFoundError as error:
        raise InputError(
            f"--to {form}: {error.name} is not installed; pip install {_PACKAGES[form]}"
        ) from None
    except OSError as error:
        raise InputError(f"{place}: cannot be written ({error.strerror})") from None
    click.echo(line, err=True)
    return 0


def _export(source: str, form: str, place: Path, runs_dir: Path) -> str:
    if form == "tensorboard":
        from reports.collect import collect

        records = collect([source], runs_dir)
        from reports.export import to_tensorboard  # after it: the package may be missing

        number = to_tensorboard(records, place)
        return f"Wrote {number} runs; view with: tensorboard --logdir {place}"
    checkpoint = find_run_folder(source, runs_dir) or Path(source)
    if form == "hub-folder":
        from inference.hub_folder import write_hub_folder

        write_hub_folder(checkpoint, place)
        return f"Wrote {place}; nothing was uploaded (hf upload NAME {place} would)"
    from inference.export import export_program

    return export_program(checkpoint, form, place)


@click.command()
@click.argument("run")
@click.option("--device", help="auto, cpu, cuda or cuda:N [default: auto].")
@click.option("--mode", help="W&B mode: online, offline or disabled.")
@click.option("--data-root", metavar="FOLDER", help="Where the data set's files are now.")
@click.option("--runs-dir", metavar="FOLDER", help="Where run folders are [default: runs].")
def rerun(run: str, **given: str | None) -> int:
    """Retrain RUN (a run folder, its id or a W&B path) and check that its metrics reproduce.

    The data must be the same bytes; differences in code, libraries and device are listed. Exit
    code 0 if the final figures match exactly or within float noise (a thousandth), else 1.

    Example: python train.py rerun runs/NAME-ID
    """
    from inference.rerun import rerun as retrain

    return retrain(run, {k: v for k, v in given.items() if v is not None}, click.echo)


@click.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, metavar="RUN...", required=True)
def sync(runs: tuple[Path, ...]) -> None:
    """Upload RUNs that were tracked offline, or whose server did not take everything.

    RUN is a run folder, or a folder of runs such as that of a sweep. All parts of a resumed run
    are uploaded in order; what is on the server already is passed over.

    Example: python train.py sync runs
    """
    from tracking.sync import sync as upload

    for line in upload(runs):
        click.echo(line)
