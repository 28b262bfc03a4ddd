"""Which earlier run a command continues."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import json_text
from common.log import log
from common.options import NONE_SPELLINGS, flag
from experiment.identity import experiment_settings, identity
from experiment.settings import Settings, command_of, options_of, stored_values
from tracking.folder import (
    RunFolder,
    find_run_folder,
    read_config,
    read_summary,
    recorded_time,
    state_of,
)

TERMINAL_STATES = ("finished", "stopped")
# Options that are not taken from the stored run.
IGNORED_ON_RESUME = ("resume", "runs_dir", "hang_after", "hang_action")


@dataclass(frozen=True)
class ResumedRun:
    """An unfinished run: its folder (locked) and its config."""

    folder: RunFolder
    config: dict[str, Any]

    def check_data(self, checksum: str) -> None:
        """Raises ``InputError`` if the data are not those that the run began with."""
        before = self.config["dataset"]["checksum"]
        if checksum != before:
            raise InputError(
                f"--resume {self.folder.path}: the data have changed since (checksum "
                f"{checksum[:12]}, was {before[:12]}); give the same --data and --data-root"
            )

    def check_config(self, saved: Mapping[str, Any] | None) -> None:
        """Raises ``InputError`` if config.yaml is not as it was ``saved`` in the checkpoint.

        Without a checkpoint, if its settings are not those of its identity.
        """
        if saved is None:
            recorded = self.config.get("identity")
            same = recorded in (None, identity(Settings.of_run(self.config)))
            changed = [] if same else ["identity"]
        else:
            now, then = (json.loads(json_text(config)) for config in (self.config, saved))
            changed = [key for key in now | then if now.get(key, ...) != then.get(key, ...)]
        if changed:
            raise InputError(
                f"{self.folder.path / 'config.yaml'}: changed since the checkpoint was saved "
                f"({', '.join(changed[:5])}); put back a copy of it, or start a new run"
            )


def merge_stored_settings(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options ``given``, on top of those of the run that ``resume`` among them names."""
    resume = given.get("resume")
    if resume in (*NONE_SPELLINGS, "auto"):
        return dict(given)
    runs_dir = given.get("runs_dir") or options_of(command)["runs_dir"].default
    _, config = _locate(str(resume), runs_dir, command)
    kept = {k: v for k, v in stored_values(config).items() if k not in IGNORED_ON_RESUME}
    return kept | dict(given)


def find(settings: Settings) -> ResumedRun | None:
    """The run that ``--resume`` names, or None where a new one begins.

    ``auto`` is the newest unfinished run of the same identity in ``--runs-dir``. It is implied
    where a worker is started again: by torchrun after a failure, and by W&B's agent, which then
    gives the run's id. Raises ``InputError`` for a run that is not there, is over, is running in
    another process, or had other settings.
    """
    resume, run_id = settings.run.resume, os.environ.get("WANDB_RUN_ID")
    if resume and resume != "auto":
        return _named(settings, resume)
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    in_sweep = run_id and "WANDB_SWEEP_ID" in os.environ
    return _newest(settings, run_id) if resume or restarted or in_sweep else None


def _locate(run: str, runs_dir: str, command: str) -> tuple[Path, dict[str, Any]]:
    """The folder and the config of a run of ``command``. Raises ``InputError``."""
    folder = find_run_folder(run, Path(runs_dir))
    if folder is None:
        raise InputError(
            f"--resume {run}: no such run; give a run folder, an id found in {runs_dir}, or auto, "
            "for example --resume auto"
        )
    config = read_config(folder)
    if command_of(config) != command:
        raise InputError(f"--resume {run}: a run of {command_of(config)}, not of {command}")
    return folder, config


def _named(settings: Settings, resume: str) -> ResumedRun:
    path, config = _locate(resume, settings.run.runs_dir, settings.command)
    before = Settings.of_run(config)
    differing = experiment_settings(settings).items() ^ experiment_settings(before).items()
    changed = {name.partition("@")[0] for name, _ in differing}
    if changed:
        now, then = settings.flat(), before.flat()
        what = ", ".join(f"{flag(k)} {now[k]} (was {then[k]})" for k in now if k in changed)
        raise InputError(f"--resume {resume}: not the settings of that run: {what}")
    return ResumedRun(_lock_unfinished(path, resume), config)


def _lock_unfinished(path: Path, resume: str) -> RunFolder:
    """The run's folder, locked. Raises ``InputError`` for a run that is over or in use."""
    folder = RunFolder(path)
    over = state_of(path) in TERMINAL_STATES  # then no file is made for the lock
    if not over and not folder.lock():
        raise InputError(f"--resume {resume}: another process is working on this run")
    state = state_of(path)  # it may have ended meanwhile
    if state in TERMINAL_STATES:
        folder.unlock()
        raise InputError(f"--resume {resume}: the run is {state}; start a new one")
    return folder


def _newest(settings: Settings, run_id: str | None) -> ResumedRun | None:
    wanted = identity(settings)
    found = []
    for path in Path(settings.run.runs_dir).glob("[!.]*/config.yaml"):
        if state_of(path.parent) in TERMINAL_STATES:
            continue
        try:
            config = read_config(path.parent)
            same = command_of(config) == settings.command and (
                identity(Settings.of_run(config)) == wanted
            )
            if same and run_id in (None, config["run_id"]):
                time = recorded_time(config, read_summary(path.parent), path)
                found.append((time, path, config))
        except (InputError, OSError) as error:
            log.warning(f"passed over: {error}")
    for _, path, config in sorted(found, key=lambda item: item[:2], reverse=True):
        try:
            return ResumedRun(_lock_unfinished(path.parent, "auto"), config)
        except InputError:
            continue  # it has ended, or another process is working on it
        except OSError as error:
            log.warning(f"passed over: {path.parent} ({error.strerror})")
    return None
