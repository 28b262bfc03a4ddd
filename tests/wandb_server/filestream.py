"""The file stream: a running client's history, summary, events, console and end."""

from __future__ import annotations

from .dispatch import end_run
from .store import Run, Store


def receive(store: Store, run: Run, message: dict) -> dict:
    """Take in one message. A chunk says at which line it starts; what it overlaps it replaces.

    So a chunk sent again after a lost answer changes nothing, and a client that starts at line 0
    replaces the old history.
    """
    for name, chunk in (message.get("files") or {}).items():
        lines = run.streams.setdefault(name, [])
        lines[chunk.get("offset", 0) :] = chunk.get("content") or []
    if run.state != "running" and not message.get("complete"):
        run.state = "running"
    if "preempting" in message:
        run.preempting = bool(message["preempting"])
    if message.get("complete"):
        end_run(store, run, message.get("exitcode"))
    return {"exitcode": None, "limits": {}}
