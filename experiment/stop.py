"""SIGTERM, SIGHUP and SIGINT ask a run to stop after the step in hand."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable
from typing import Any


def leave_terminal() -> None:
    """After a SIGHUP: print to nowhere, since writing to a terminal that has gone is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # closed from the start: nothing to leave
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)
    os.close(nowhere)


class StopSignals:
    """``with``: the first of these signals is only noted; after it a SIGINT ends the process.

    Outside the main thread, where Python takes no signals, this does nothing. A signal that was
    ignored before (a job in the background, ``nohup``) stays so.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """The shell's code for a process ended by the signal: 143 (SIGTERM), 129 or 130."""
        return 128 + (self.number or 0)

    @property
    def name(self) -> str:
        return signal.Signals(self.number or 0).name

    def _take(self, number: int, frame: Any) -> None:
        if self.number is not None and number == signal.SIGINT:
            # At once means at once: W&B's own goodbye can wait for a server for a minute.
            os._exit(self.exit_code)
        if number == signal.SIGHUP:
            leave_terminal()
        if self.number is None:
            self.number = number
            self.say(f"{self.name}: stopping after this step (SIGINT now stops at once)")
