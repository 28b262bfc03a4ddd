"""Repeat the record of a track: five seeds against its target, beside the textbook loop's time.

A record is a folder ``records/TRACK-NN-WHAT`` with ``sweep.yaml`` and, once measured,
``record.csv`` and ``record.md``. The rules are in records/README.md.

    python -m benchmarks.record B
"""

import csv
import math
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from benchmarks.common import COUNT, RemoteStep, hardware_of, out_option, write
from benchmarks.textbook import PREFETCHED, textbook_step
from common.errors import InputError, RunError
from common.media import Table
from experiment.run import run
from experiment.settings import Settings
from sweeps.sweep_file import read_sweep

SEEDS = 5
REFERENCE_IMAGES = 180_000  # the logbook's budget
SLOWER = 0.9  # of the speed on record: less does not repeat it
RECORDS = Path(__file__).resolve().parent.parent / "records"
COLUMNS = ("seed", "metric", "value", "images", "parameters", "seconds", "reference_seconds")


@dataclass(frozen=True)
class Track:
    """What a record of the track must reach.

    (target - mean) * sqrt(seeds) must be at least ``margin``. At most ``parameters``, and at most
    ``share`` of the reference time. ``fixed``: only the training options may change.
    """

    what: str
    metric: str
    target: float
    margin: float = 0.0006  # p < 0.01 where the seeds' standard deviation is at most 0.00025
    parameters: int | None = None
    share: float | None = None
    fixed: bool = False

    def check(self, settings: Settings) -> None:
        """Raises ``InputError`` for a run that the track does not allow."""
        plain = Settings.parse(settings.command, {"data": "fashion-mnist"})
        where = {"data_root": settings.data.data_root}
        allowed = settings.data == replace(plain.data, **where)
        allowed &= settings.flat().get("corruption") == "half"
        if self.fixed:
            allowed &= settings.command == "resconv"
            allowed &= (settings.net, settings.task) == (plain.net, plain.task)
        if not allowed:
            raise InputError(f"{self.what}: all of Fashion-MNIST with halves erased; use --trial")


TRACKS = {
    "A": Track("the logbook's net, fewest images", "val/l1", 0.0511, fixed=True),
    "B": Track("least time to the published best", "val/l1_composite", 0.0434),
    "C": Track("least time to the nearest neighbours", "val/l1_composite", 0.0403),
    "D": Track(
        "lowest error in a third of the reference time", "val/l1_composite", 0.0365,
        parameters=907_683, share=1 / 3,
    ),
}  # fmt: skip


def newest(track: str) -> Path:
    """The folder of the track's current record. Raises ``InputError`` if there is none."""
    folders = sorted(file.parent for file in RECORDS.glob(f"{track}-*/sweep.yaml"))
    if not folders:
        raise InputError(f"{RECORDS}: no record of track {track}; give --record FOLDER")
    return folders[-1]


def settings_of(folder: Path) -> list[Settings]:
    """The settings of the record's runs, by seed. Raises ``InputError`` for several settings."""
    sweep = read_sweep(folder / "sweep.yaml").with_seeds(SEEDS)
    points = sweep.grid()
    if len(points) != SEEDS:
        raise InputError(f"{sweep.file}: a record is one setting, not {len(points) // SEEDS}")
    return [sweep.settings(point.args) for point in points]


def measure(track: Track, runs: list[Settings], device: str, turn: int) -> Table:
    """Train each of ``runs``, a turn of the textbook loop before each. Times include validation.

    The first run is preceded by one of a single step, which imports and compiles.
    """
    torch_device = hardware_of(device).device
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        RemoteStep(torch_device, textbook_step, folder, torch_device, {}) as reference,
    ):
        elsewhere = {"mode": "disabled", "runs_dir": folder, "device": device}
        runs = [settings.replace(**elsewhere) for settings in runs]
        reference.seconds(1)
        _train(runs[0].replace(images=runs[0].training.batch_size))
        for settings in runs:
            reference.seconds(PREFETCHED)
            step = reference.seconds(turn) / turn
            start = time.perf_counter()
            summary = _train(settings)
            seconds = time.perf_counter() - start
            textbook = step * REFERENCE_IMAGES / Settings.parse("resconv", {}).training.batch_size
            value, images, count = (
                summary["last"][track.metric], summary["images_total"], summary["parameters"]
            )  # fmt: skip
            times = round(seconds, 2), round(textbook, 1)
            rows.append((settings.training.seed, track.metric, value, images, count, *times))
    return Table("record", COLUMNS, rows)


def _train(settings: Settings) -> dict[str, Any]:
    result = run(settings, observer=lambda row: None)
    if result.state != "finished":
        raise RunError(f"seed {settings.training.seed}: the run was {result.state}; nothing counts")
    return result.summary


def verdict(track: Track, rows: list[dict[str, Any]], before: list[dict[str, Any]]) -> list[str]:
    """What was measured, a line each; a line that begins with NOT refutes the record.

    ``before`` are the rows on record, [] for a new one, whose speed must come back, too.
    """
    values = [float(row["value"]) for row in rows]
    mean, spread = statistics.mean(values), statistics.stdev(values)
    excess = (track.target - mean) * math.sqrt(len(values))
    share = _share(rows)
    checks = {
        f"{track.metric} {mean:.5f}, standard deviation {spread:.5f}, {len(values)} seeds: "
        f"(target {track.target} - mean) * sqrt({len(values)}) = {excess:.5f}, at least "
        f"{track.margin}": excess >= track.margin,
        f"time 1/{1 / share:.1f} of the reference"
        + (f", at most 1/{1 / track.share:.0f}" if track.share else ""): (
            not track.share or share <= track.share
        ),
    }
    if track.parameters:
        count = max(int(row["parameters"]) for row in rows)
        checks[f"{count:,} parameters, at most {track.parameters:,}"] = count <= track.parameters
    if before:
        old = _share(before)
        checks[f"on record: time 1/{1 / old:.1f} of the reference"] = share * SLOWER <= old
    return [line if held else f"NOT {line}" for line, held in checks.items()]


def _share(rows: list[dict[str, Any]]) -> float:
    """Mean seconds of a run as a share of the reference's median."""
    reference = statistics.median(float(row["reference_seconds"]) for row in rows)
    return statistics.mean(float(row["seconds"]) for row in rows) / reference


@click.command()
@click.argument("track", type=click.Choice(list(TRACKS)))
@click.option("--record", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="Folder with sweep.yaml [default: the track's newest].")  # fmt: skip
@out_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
@click.option("--turn", type=COUNT, default=30, show_default=True,
              help="Steps of the textbook loop before each run.")  # fmt: skip
@click.option("--trial", is_flag=True, help="Any data and settings; not counted as a record.")
def main(
    track: str, record: Path | None, out: Path, device: str, turn: int, trial: bool
) -> None:  # fmt: skip
    """Train the current record of TRACK again with five seeds, and say whether it held."""
    folder = record or newest(track)
    rule, runs, stored = TRACKS[track], settings_of(folder), []
    record_in_out = (out / "record.csv").exists() and out.resolve().parent == RECORDS
    if record_in_out and (trial or out.resolve() != folder.resolve()):
        raise InputError(f"--out {out}: holds a record of other runs; give --record {out} as well")
    for settings in () if trial else runs:
        rule.check(settings)
    if (folder / "record.csv").exists():
        with open(folder / "record.csv", newline="", encoding="utf-8") as file:
            stored = list(csv.DictReader(file))
    table = measure(rule, runs, device, turn)
    lines = verdict(rule, [dict(zip(COLUMNS, row, strict=True)) for row in table.rows], stored)
    held = not any(line.startswith("NOT ") for line in lines)
    good, bad = "the record held", "the record did NOT hold"
    if not stored:
        good, bad = "the target is reached", "the target is NOT reached"
    end = "a trial, no claim" if trial else good if held else bad
    heading = f"Track {track}, {rule.what}, `{folder.name}`: {end}."
    claim = "\n".join([heading, "", *(f"- {line}" for line in lines)])
    if held or not record_in_out:
        write(out, "record", table, hardware_of(device), claim)
    click.echo(claim)
    raise SystemExit(0 if held else 1)


if __name__ == "__main__":
    main()
