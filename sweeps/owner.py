"""The owner of a claim: whether the process that claimed a trial of a study still works on it.

A claim names its owner (host, process id, start time) and carries a time stamp that the owner
renews every ``HEARTBEAT_SECONDS``. It is lost when its owner, on this machine, has ended, or when
the stamp is older than ``LEASE_SECONDS``: no lock has to be held as long as a run, and clocks only
have to agree to a minute or two.
"""

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from common.errors import InputError
from sweeps.yaml_file import read_yaml

PROC = Path("/proc")
HEARTBEAT_SECONDS = 20
LEASE_SECONDS = 300
CLAIM_GRACE_SECONDS = 60  # a claim is signed at once, unless its process was killed just then
CLOCK_SECONDS = 60  # by which the clocks of machines and file servers may differ
CLAIMANT_PREFIX = "taker "  # of the attribute in which a process says that it wants a trial


def this_process() -> dict[str, Any]:
    """What names this process: host, boot, process space, id and start time."""
    return _machine() | {"pid": os.getpid(), "start": _start_time(os.getpid())}


def is_gone(owner: dict[str, Any]) -> bool | None:
    """Whether ``owner`` (of ``this_process``) has ended; None where that cannot be seen from here.

    The start time tells a process from a later one with the same id. A container or machine of
    the same name is another place, and so is the same machine after a restart.
    """
    here = _machine()
    if None in here.values() or any(owner.get(key) != here[key] for key in here):
        return None
    return _start_time(owner["pid"]) != owner["start"]


def _machine() -> dict[str, str | None]:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        space = os.readlink(PROC / "self/ns/pid")
    except OSError:  # not Linux: claims are then judged by their age alone
        boot = space = None
    return {"host": socket.gethostname(), "boot": boot, "space": space}


def _start_time(pid: int) -> str | None:
    """Clock ticks from boot to the start of process ``pid``; None if it has ended."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        state, *rest = text.rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else rest[18]


def claim_of(trial: FrozenTrial) -> dict[str, Any]:
    """Who claimed a trial, when, and with what; empty in the moment before it is written."""
    return trial.user_attrs.get("claim", {})


def is_lost(trial: FrozenTrial) -> bool:
    """Whether the owner of a running trial has ended or gone silent."""
    claim, gone = claim_of(trial), _owner_is_gone(trial)
    if not claim and _age(trial) > CLAIM_GRACE_SECONDS:
        return True
    return _age(trial) > LEASE_SECONDS if gone is None else gone


def is_stale(trial: FrozenTrial) -> bool:
    """Whether a running trial has shown no recent sign of life: lost, or soon known to live."""
    gone = _owner_is_gone(trial)
    if gone is None:
        return not claim_of(trial) or _age(trial) >= 2 * HEARTBEAT_SECONDS
    return gone


def _age(trial: FrozenTrial) -> float:
    """Seconds since a claim was made or last renewed."""
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return time.time() - trial.user_attrs.get("beat", claim_of(trial).get("time", started))


def _owner_is_gone(trial: FrozenTrial) -> bool | None:
    owner = claim_of(trial).get("owner")
    if owner:
        return is_gone(owner)
    claimants = [v for k, v in trial.user_attrs.items() if k.startswith(CLAIMANT_PREFIX)]
    return True if claimants and all(map(is_gone, claimants)) else None


def finished_run(trial: FrozenTrial, sweep_name: str) -> dict[str, Any] | None:
    """The run of a claim, if it finished before its worker could record it.

    Older runs of the same point, of an earlier study, are not the claim's.
    """
    claim = claim_of(trial)
    for file in Path(claim["runs_dir"]).glob("*/summary.json") if claim else ():
        with contextlib.suppress(OSError, ValueError, InputError):
            if file.stat().st_mtime < claim["time"] - CLOCK_SECONDS:
                continue
            summary = json.loads(file.read_text(encoding="utf-8"))
            config = read_yaml(file.parent / "config.yaml")[0]
            sweep = config.get("sweep") or {}
            mine = (sweep.get("name"), sweep.get("point")) == (sweep_name, claim["key"])
            if mine and summary.get("state") == "finished":
                attrs = {"folder": str(file.parent), "run_id": summary["run_id"]}
                return {"attrs": attrs, "value": summary["last"]}
    return None
