"""Is the process that claimed a point still there? Exact on the same machine, unknown elsewhere."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

PROC = Path("/proc")


def this_process() -> dict[str, Any]:
    """What names this process: host, boot, process space, id and start time."""
    return _place() | {"pid": os.getpid(), "start": _start_time(os.getpid())}


def is_gone(owner: dict[str, Any]) -> bool | None:
    """Whether ``owner`` (of ``this_process``) has ended; None where that cannot be seen from here.

    The start time tells a process from a later one with the same id. A container or machine of
    the same name is another place, and so is the same machine after a restart.
    """
    here = _place()
    if None in here.values() or any(owner.get(key) != here[key] for key in here):
        return None
    return _start_time(owner["pid"]) != owner["start"]


def _place() -> dict[str, str | None]:
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
