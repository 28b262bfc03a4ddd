"""Faults that a test can switch on while the clients are at work."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(eq=False)
class Fault:
    """What to do to requests: answer `status`, or `hang` until the fault is over.

    `path`: only to requests whose path contains it. `count`: only so many of them, then the
    server works again. `hits`: how many requests met the fault so far.
    """

    status: int | None = None
    hang: bool = False
    path: str = ""
    count: int | None = None
    hits: int = 0
    over: threading.Event = field(default_factory=threading.Event)


class Faults:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active: list[Fault] = []

    def start(self, fault: Fault) -> None:
        with self.lock:
            self.active.append(fault)

    def stop(self, fault: Fault) -> None:
        fault.over.set()
        with self.lock:
            self.active.remove(fault)

    def meets(self, path: str) -> Fault | None:
        """The fault that a request for `path` runs into, if any."""
        with self.lock:
            for fault in self.active:
                if fault.path in path and (fault.count is None or fault.hits < fault.count):
                    fault.hits += 1
                    return fault
        return None
