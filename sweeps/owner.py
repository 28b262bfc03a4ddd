"""The owner of a claim: whether the process that claimed a trial of a study still works on it.

A claim names its owner (host, process id, start time) and carries a time stamp that the owner
renews every ``HEARTBEAT_SECONDS``. It is lost when its owner, on this machine, has ended, or when
the stamp is older than ``LEASE_SECONDS``: no lock has to be held as long as a run, and clocks only
have to agree to a minute or two.
"""

import contextlib
import math
import os
import socket
import time
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from common.errors import InputError
from tracking.record import FolderRun, read_run_folder

PROC = Path("/proc")
HEARTBEAT_SECONDS = 20
LEASE_SECONDS = 300
CLAIM_GRACE_SECONDS = 60  # an owner is recorded at once, unless its process was killed just then
CLOCK_SECONDS = 60  # by which the clocks of machines and file servers may differ
PRUNED = "pruned"  # why a run that Hyperband stopped has ended
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
    return silence(trial) > LEASE_SECONDS


def silence(trial: FrozenTrial) -> float:
    """Seconds since the last sign of life: 0 if the owner is known to run, inf if it has ended.

    A claim whose owner was not recorded counts as old: it is lost after ``CLAIM_GRACE_SECONDS``.
    """
    claim, attrs = claim_of(trial), trial.user_attrs
    owner = claim.get("owner")
    claimants = [v for k, v in attrs.items() if k.startswith(CLAIMANT_PREFIX)]
    gone = {is_gone(process) for process in ([owner] if owner else claimants)}
    if gone == {True}:
        return math.inf
    if owner and gone == {False}:
        return 0.0
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    age = time.time() - attrs.get("beat", claim.get("time", started))
    return age if claim else age + LEASE_SECONDS - CLAIM_GRACE_SECONDS


def finished_run(trial: FrozenTrial, sweep_name: str) -> FolderRun | None:
    """The run of a claim, if it finished, or was stopped early, before its worker could record it.

    Older runs of the same point, of an earlier study, are not the claim's.
    """
    claim = claim_of(trial)
    for file in Path(claim["runs_dir"]).glob("*/summary.json") if claim else ():
        with contextlib.suppress(OSError, InputError):
            if file.stat().st_mtime < claim["time"] - CLOCK_SECONDS:
                continue
            run = read_run_folder(file.parent)
            point = (run.config.get("sweep") or {}).get("point")
            ended = run.state == "finished" or (run.state, run.reason) == ("stopped", PRUNED)
            if ended and (run.sweep, point) == (sweep_name, claim["key"]):
                return run
    return None
