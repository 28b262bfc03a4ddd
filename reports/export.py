"""Runs for other tools: TensorBoard's event files."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from common.errors import InputError
from reports.settings_of import settings_of
from tracking.record import FolderRun, RunRecord


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
    targets = [folder / run.folder.name for run in runs]
    for target in targets:
        if target.exists():
            raise InputError(f"{target}: exists already; give an empty folder")
    for run, target in zip(runs, targets, strict=True):
        _write(run, target)
    return len(runs)


def _write(run: FolderRun, target: Path) -> None:
    with SummaryWriter(str(target), max_queue=1000) as writer:
        for step, key, value in scalars(run.folder / "metrics.csv"):
            writer.add_scalar(key, value, step)
        for path in sorted((run.folder / "pictures").glob("*.png")):
            seen = path.stem.removeprefix("images-")  # 73bab81 had no prefix
            if seen.isdigit():
                pixels = np.asarray(Image.open(path).convert("RGB"))
                writer.add_image("overview", pixels, int(seen), dataformats="HWC")
        plain = (int, float, str, bool)
        settings = {k: v for k, v in settings_of(run).items() if isinstance(v, plain)}
        settings["seed"] = run.config.get("seed", 0)
        final = {key: value for key, value in run.last.items() if value is not None}
        for summary in hparams(settings, {f"final/{key}": value for key, value in final.items()}):
            writer._get_file_writer().add_summary(summary)
        for key, value in final.items():
            writer.add_scalar(f"final/{key}", value, 0)


def scalars(path: Path) -> Iterator[tuple[int, str, float]]:
    """Step, key and value of every measured cell of a metrics.csv."""
    if not path.is_file():
        return
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for key, value in row.items():
                if key not in ("step", None) and value:
                    yield int(row["step"]), key, float(value)
