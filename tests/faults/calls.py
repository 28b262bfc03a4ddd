"""The writing system calls of this process: each can be counted, recorded, or be its last one.

Inside ``intercepted`` files are opened by ``_pyio``, the version of ``open`` in Python, which makes
every write by ``os.write``. What compiled code writes by itself (W&B's own process) is not seen.
"""

from __future__ import annotations

import _pyio
import builtins
import io
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WRITING = (
    "write", "pwrite", "writev", "sendfile", "copy_file_range", "truncate", "ftruncate", "fsync",
    "fdatasync", "rename", "replace", "link", "symlink", "mkdir", "rmdir", "unlink", "remove",
    "utime", "chmod", "fchmod",
)  # fmt: skip
Handler = Callable[[str, Callable[..., Any], tuple], Any]


@contextmanager
def intercepted(handle: Handler) -> Iterator[None]:
    """``with``: ``handle(name, call, args)`` stands in for each call, and makes it by ``call``."""
    before = builtins.open, io.open
    originals = {name: getattr(os, name) for name in ("open", "close", *WRITING)}

    def stand_in(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return handle(name, lambda *args: original(*args, **kwargs), args)

        return call

    try:
        for name, original in originals.items():
            setattr(os, name, stand_in(name, original))
        builtins.open = io.open = _pyio.open
        yield
    finally:
        builtins.open, io.open = before
        for name, original in originals.items():
            setattr(os, name, original)


def writes(name: str, args: tuple) -> bool:
    """Whether the call changes what a disk holds or makes sure of it."""
    return name in WRITING or (name == "open" and bool(args[1] & (os.O_CREAT | os.O_TRUNC)))


class Count:
    """A handler that counts the writing calls."""

    calls = 0

    def __call__(self, name: str, call: Callable[..., Any], args: tuple) -> Any:
        self.calls += writes(name, args)
        return call(*args)


class Crash(Count):
    """A handler that kills this process at its ``last``-th writing call.

    Half of the time before it, else after it; a write may be done in part.
    """

    def __init__(self, last: int) -> None:
        self.last, self.chance = last, random.Random(last)

    def __call__(self, name: str, call: Callable[..., Any], args: tuple) -> Any:
        self.calls += writes(name, args)
        if self.calls == self.last and writes(name, args):
            if name == "write":
                call(args[0], bytes(args[1])[: self.chance.randrange(len(args[1]) + 1)])
            elif self.chance.random() < 0.5:
                call(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args)
