"""Runs from anywhere: run folders, sweep files, studies and W&B paths."""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from common.errors import InputError, one_of
from common.log import log
from experiment.settings import Settings, options_of
from models.registry import NETS
from reports.csv_files import COSTS, CsvRun, csv_runs
from reports.published import logbook_table
from sweeps.space import Sweep
from sweeps.sweep_file import parse_sweep
from sweeps.yaml_file import read_yaml
from tracking.record import (
    FolderRun,
    RunRecord,
    is_run_folder,
    read_all,
    read_run_folder,
    read_run_folders,
)

SWEEP_SUFFIXES = (".yaml", ".yml")


def collect(
    sources: Sequence[str], runs_dir: Path, *, all_runs: bool = False, metric: str | None = None
) -> list[RunRecord]:
    """The runs of all sources, each once, oldest first.

    A source is a run folder, a folder of runs or a study (searched two levels down), a sweep
    file (its runs are looked for under ``runs_dir``), a CSV file of results (``metric`` is the
    column that ranks them), or a W&B path. Runs of settings that a sweep file no longer holds are
    ``outdated``, unless ``all_runs``. A run of another program, and one that a search meets and
    that cannot be read, is named on stderr and left out. Raises ``InputError`` for a source without
    runs, for a run given by name that cannot be read, and for runs of two projects.
    """
    found: dict[object, RunRecord] = {}
    for source in sources:
        runs = _runs_of(source, runs_dir, metric)
        named = is_run_folder(Path(source)) or source.rstrip("/").rpartition("/")[2] == runs[0].id
        for run in runs:
            if named and run.command in NETS:
                checked(run)
            outdated, alone = run.outdated and not all_runs, named and len(runs) == 1
            kept = dataclasses.replace(run, outdated=outdated, named=alone)
            found.setdefault(getattr(run, "folder", run.id), kept)
    records = sorted(read_all(found.values(), checked), key=lambda r: r.order)
    local = {record.id for record in records if isinstance(record, FolderRun)}
    records = [r for r in records if isinstance(r, FolderRun) or r.id not in local]
    for run_id, number in Counter(record.id for record in records).items():
        if number > 1:
            log.warning(
                f"{number} run folders have the id {run_id}: each is shown (copies of one run, or "
                "WANDB_RUN_ID was set for several)"
            )
    for what, part in (("projects", 2), ("entities", 0)):
        kinds = sorted({r.project.rpartition("/")[part] for r in records} - {""})
        if len(kinds) > 1:
            raise InputError(
                f"runs of {len(kinds)} {what} ({', '.join(kinds)}): one comparison takes one; give "
                "the sources of one, for example a sweep file, or folders by name: runs/resconv-*"
            )
    return records


def checked(record: RunRecord) -> RunRecord:
    """``record``. Raises ``InputError`` where its command, an option or a count cannot be read."""
    run = f"{record.name} ({record.id})"
    if record.command not in NETS:
        raise InputError(f"{run}: a run of {record.command}, {one_of(record.command, NETS)}")
    for name in (*COSTS, "seconds", "images_seen", "images_total"):
        if not isinstance(record.summary.get(name), int | float | None):
            raise InputError(f"{run}: {name} is no number")
    if not isinstance(record, CsvRun):  # its columns may have the name of an option
        for name, option in options_of(record.command).items():
            if option.identity and record.config.get(name) is not None:
                try:
                    option.read(name, record.config[name])
                except InputError as error:
                    raise InputError(f"{run}: {error}") from None
    return record


def _runs_of(source: str, runs_dir: Path, metric: str | None) -> Sequence[RunRecord]:
    path = Path(source)
    if path.suffix.lower() == ".csv":
        return csv_runs(path, metric)
    if path.suffix in SWEEP_SUFFIXES:
        return _runs_of_sweep(path, runs_dir)
    if path.is_dir():
        return _runs_below(path)
    if path.is_file() or re.match(r"(postgresql|mysql)\S*://", source):
        return _runs_of_study(source, runs_dir)
    from tracking.api import wandb_records

    try:
        records = wandb_records(source)
    except InputError as error:
        text = str(error).removeprefix(f"{source}: ")
        if "no such file or folder" in text or "://" in source:
            raise
        raise InputError(
            f"{source}: no such file or folder; give a run folder, a folder of runs, a sweep file, "
            f"a study or a CSV file. As a W&B path: {text}"
        ) from None
    if not records:
        raise InputError(f"{source}: no runs there yet")
    return records


def _runs_below(folder: Path) -> Sequence[RunRecord]:
    """The run in ``folder``, or those in the folders one or two levels below it."""
    if is_run_folder(folder):
        return [read_run_folder(folder)]
    candidates = [*sorted(folder.glob("*/")), *sorted(folder.glob("*/*/"))]
    folders = [candidate for candidate in candidates if is_run_folder(candidate)]
    if not folders:
        raise InputError(
            f"{folder}: no runs there (a run folder holds config.yaml and summary.json), "
            "for example python train.py compare runs"
        )
    return read_run_folders(folders)


def _runs_of_sweep(path: Path, runs_dir: Path) -> Sequence[RunRecord]:
    """The runs under ``runs_dir`` that came from the sweep file ``path``."""
    folders = [run for run in sorted(runs_dir.glob("*/")) if is_run_folder(run)]
    config, question = read_yaml(path)
    name = str(config.get("name") or path.stem)
    try:
        sweep = parse_sweep(path, config, skip_invalid=True)
    except InputError as error:  # its runs can be compared although it cannot be run
        log.warning(f"All runs are shown: {error}")
        sweep = None
    metric = sweep.metric if sweep else None
    runs = [
        dataclasses.replace(run, question=question, metric=metric, outdated=_outdated(run, sweep))
        for run in read_run_folders(folders)
        if name in (run.sweep, logbook_table(run.sweep))
    ]
    if not runs:
        raise InputError(
            f"{path}: no runs of this sweep under {runs_dir}; run it first: "
            f"python train.py sweep {path} (or say where: --runs-dir FOLDER)"
        )
    return runs


def _outdated(run: RunRecord, sweep: Sweep | None) -> bool:
    """Whether the sweep's file no longer holds the settings of a run."""
    if sweep is None or run.command not in NETS:
        return False
    try:
        settings = Settings.of_run(run.config)
    except InputError as error:
        log.warning(f"{run.name}-{run.id}: its settings cannot be read ({error})")
        return True
    rehearsal = run.sweep != sweep.name  # NAME-images-N sets both
    return not sweep.holds(settings, ignore=("images", "val_images") if rehearsal else ())


def _runs_of_study(source: str, runs_dir: Path) -> list[FolderRun]:
    """The run folders that the finished trials of a journal file or database name.

    A folder that is not where the sweep made it is looked for in ``runs_dir``. Raises
    ``InputError`` for a file that is no study, a missing folder, and a run of another sweep.
    """
    from optuna.trial import TrialState

    from sweeps.storage import open_storage

    shown = source.rpartition("@")[2]  # an address may hold a password
    storage = open_storage(source, read_only=True)
    studies = storage.get_all_studies()
    if not studies:
        raise InputError(f"{shown}: not a study of an offline sweep (studies/NAME.journal)")
    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    places: dict[Path, str] = {}  # the sweep of each run folder
    for study in studies:
        for trial in storage.get_all_trials(study._study_id, deepcopy=False, states=finished):
            if "folder" not in trial.user_attrs:
                continue
            folder = Path(trial.user_attrs["folder"])
            place = next((p for p in (folder, runs_dir / folder.name) if is_run_folder(p)), None)
            if place is None:
                raise InputError(
                    f"{shown}: its run folder {folder} is not here; say where: --runs-dir FOLDER"
                )
            places[place.resolve()] = study.study_name
    runs = read_run_folders(places)
    for run in runs:
        if run.sweep != places[run.folder]:
            raise InputError(
                f"{shown}: the study of the sweep {places[run.folder]} names {run.folder}, a run "
                f"of the sweep {run.sweep}; give the study and the run folders of one sweep"
            )
    if not runs:
        raise InputError(f"{shown}: no finished runs in this study yet")
    return runs
