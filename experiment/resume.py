"""Which earlier run goes on, and what it knew when it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from common.errors import InputError
from common.options import flag
from experiment.settings import SETTINGS, RunSettings
from tracking.folder import RunFolder

OVER = ("finished", "stopped")  # states after which there is nothing left to do
ELSEWHERE = ("resume", "runs_dir")  # options that a command given again may change


@dataclass(frozen=True)
class Earlier:
    """A run that stopped too early: its folder (locked) and its config."""

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


def with_stored(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options ``given``, on top of those of the run that ``resume`` among them names."""
    resume = given.get("resume")
    if resume in (None, "", "none", "auto"):
        return dict(given)
    cls = SETTINGS[task]
    folder = locate(str(resume), Path(given.get("runs_dir") or cls.runs_dir))
    config = read_config(folder)
    if config["task"] != task:
        raise InputError(f"--resume {resume}: a run of {config['task']}, not of {task}")
    return stored_settings(config, cls) | dict(given)


def stored_settings(config: Mapping[str, Any], cls: type[RunSettings]) -> dict[str, Any]:
    """The settings of ``cls`` that a run's config holds, but for where and whether to resume."""
    names = {f.name for f in fields(cls)} - set(ELSEWHERE)
    return {name: config[name] for name in names if name in config}


def find(settings: RunSettings) -> Earlier | None:
    """The run that ``settings.resume`` names, or None where a new one begins.

    ``auto`` is the newest unfinished run of the same settings in the same place. It is implied
    where a worker is started again: by torchrun after a failure, and by W&B's agent, which then
    gives the run's id. Raises ``InputError`` for a run that is not there, is over, is at work in
    another process, or had other settings.
    """
    if settings.resume and settings.resume != "auto":
        return _named(settings)
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    in_sweep = {"WANDB_SWEEP_ID", "WANDB_RUN_ID"} <= os.environ.keys()
    if settings.resume == "auto" or restarted or in_sweep:
        return _newest(settings, os.environ.get("WANDB_RUN_ID"))
    return None


def locate(run: str, runs_dir: Path) -> Path:
    """The run folder called ``run``, see ``look_up``. Raises ``InputError`` where there is none."""
    folder = look_up(run, runs_dir)
    if folder is None:
        raise InputError(
            f"--resume {run}: no such run; give a run folder, an id found in {runs_dir}, or auto, "
            "for example --resume auto"
        )
    return folder


def look_up(run: str, runs_dir: Path) -> Path | None:
    """The run folder called ``run``: a path, or an id or folder name in ``runs_dir``."""
    for path in (Path(run), runs_dir / run):
        if (path / "config.yaml").is_file():
            return path
    here = [p.parent for p in runs_dir.glob("*/config.yaml") if p.parent.name.endswith(f"-{run}")]
    return here[0] if len(here) == 1 else None


def read_config(folder: Path) -> dict[str, Any]:
    """A run folder's config.yaml. Raises ``InputError`` where it is not one."""
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())[:80]
        raise InputError(f"{path}: cannot be read ({detail}); give another run folder") from None
    if not isinstance(config, dict) or not {"task", "run_id", "dataset"} <= config.keys():
        raise InputError(f"{path}: not the config of a run; give the folder of a run")
    return config


def state_of(folder: Path) -> str:
    """The run's state by its summary.json, ``running`` where that was never written."""
    try:
        return json.loads((folder / "summary.json").read_text(encoding="utf-8"))["state"]
    except (OSError, ValueError, KeyError):
        return "running"


def _named(settings: RunSettings) -> Earlier:
    path = locate(str(settings.resume), Path(settings.runs_dir))
    config = read_config(path)
    now = settings.deciding()
    changed = [k for k, v in now.items() if k in config and config[k] != v]
    if config["task"] != settings.task or changed:
        what = ", ".join(f"{flag(k)} {now[k]} (was {config[k]})" for k in changed) or settings.task
        raise InputError(f"--resume {settings.resume}: not the settings of that run: {what}")
    if state_of(path) in OVER:
        state = state_of(path)
        raise InputError(f"--resume {settings.resume}: the run is {state}; start a new one")
    folder = RunFolder(path)
    if not folder.lock():
        raise InputError(f"--resume {settings.resume}: another process is at work on this run")
    return Earlier(folder, config)


def _newest(settings: RunSettings, run_id: str | None) -> Earlier | None:
    wanted = stored_settings(settings.to_config(), type(settings))
    start = RunFolder.safe_name(settings.name or settings.default_name())
    found = Path(settings.runs_dir).glob(f"{start}*/config.yaml")
    for path in sorted(found, key=lambda path: RunFolder(path.parent).time, reverse=True):
        if state_of(path.parent) in OVER:
            continue
        config = read_config(path.parent)
        same = stored_settings(config, type(settings)) == wanted
        if config["task"] == settings.task and same and run_id in (None, config["run_id"]):
            folder = RunFolder(path.parent)
            if folder.lock():
                return Earlier(folder, config)
    return None
