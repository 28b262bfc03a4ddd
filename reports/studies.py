"""The runs of an offline sweep, by its Optuna study."""

from __future__ import annotations

from pathlib import Path

from common.errors import InputError
from tracking.record import FolderRun, is_run_folder, read_run_folders


def study_runs(source: str, runs_dir: Path) -> list[FolderRun]:
    """The run folders that the finished trials of a journal file or database name.

    A folder that is not where the sweep made it is looked for in ``runs_dir``. Raises
    ``InputError`` for a file that is no study, a missing folder, and a run of another sweep.
    """
    places: dict[Path, str] = {}
    shown = source.rpartition("@")[2]  # an address may hold a password
    for name, folder in _folders(source, shown):
        place = next((p for p in (folder, runs_dir / folder.name) if is_run_folder(p)), None)
        if place is None:
            raise InputError(
                f"{shown}: its run folder {folder} is not here; say where: --runs-dir FOLDER"
            )
        places[place.resolve()] = name
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


def _folders(source: str, shown: str) -> list[tuple[str, Path]]:
    """Study name and run folder of every finished trial."""
    from optuna.trial import TrialState

    from sweeps.storage import open_storage

    storage = open_storage(source, read_only=True)
    studies = storage.get_all_studies()
    if not studies:
        raise InputError(f"{shown}: not a study of an offline sweep (studies/NAME.journal)")
    return [
        (study.study_name, Path(trial.user_attrs["folder"]))
        for study in studies
        for trial in storage.get_all_trials(study._study_id, deepcopy=False)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and "folder" in trial.user_attrs
    ]
