"""Runs for other tools: TensorBoard's event files."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from common.errors import InputError
from reports.settings_of import settings_of
from tracking.record import FolderRun, RunRecord, csv_rows


def to_tensorboard(records: Sequence[RunRecord], folder: Path) -> int:
    """Write every run's scalars by step, overview pictures and settings into ``folder/NAME-ID``.

    Returns the number of runs. Raises ``InputError`` for runs that have no run folder here, and
    for a target folder that already holds one of the runs.
    """
    runs = [run for run in records if isinstance(run, FolderRun)]
    if len(runs) < len(records):
        raise InputError(
            f"{len(records) - len(runs)} of the {len(records)} runs have no run folder here; give "
            "run folders, for example python train.py export runs --to tensorboard DIR"
        )
    names = [run.folder.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name}: given twice, in two folders; give one of them")
        if (folder / name).exists():
            raise InputError(f"{folder / name}: exists already; give an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as made:
            inside = Path(made) / run.folder.name
            _write(run, inside)
            inside.rename(folder / run.folder.name)
    return len(runs)


def _write(run: FolderRun, target: Path) -> None:
    with SummaryWriter(str(target), max_queue=1000) as writer:
        for row in csv_rows(run.folder / "metrics.csv"):
            for key, value in row.items():
                if key not in ("step", None) and value:
                    writer.add_scalar(key, float(value), int(row["step"]))
        for path in sorted((run.folder / "pictures").glob("*.png")):
            seen = path.stem.removeprefix("images-")  # 73bab81 had no prefix
            if seen.isdigit():
                try:
                    pixels = np.asarray(Image.open(path).convert("RGB"))
                except OSError as error:
                    raise InputError(f"{path}: cannot be read ({error}); take it out") from None
                writer.add_image("overview", pixels, int(seen), dataformats="HWC")
        plain = (int, float, str, bool)
        settings = {k: v for k, v in settings_of(run).items() if isinstance(v, plain)}
        settings["seed"] = run.config.get("seed", 0)
        final = {f"final/{key}": value for key, value in run.last.items()}
        writer.add_hparams(settings, final, run_name=".", global_step=0)
