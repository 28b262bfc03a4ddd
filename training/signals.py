"""SIGTERM and SIGINT ask a run to stop after the step in hand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any


class StopSignals:
    """``with``: the first SIGTERM or SIGINT is only noted; after it a SIGINT ends the process.

    Outside the main thread, where Python takes no signals, this does nothing. A signal that was
    ignored before (a job in the background) stays so.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """The shell's code for a process ended by the signal: 143 (SIGTERM) or 130 (SIGINT)."""
        return 128 + (self.number or 0)

    @property
    def name(self) -> str:
        return signal.Signals(self.number or 0).name

    def _take(self, number: int, frame: Any) -> None:
        if self.number is not None and number == signal.SIGINT:
            # At once means at once: W&B's own goodbye can wait for a server for a minute.
            os._exit(self.exit_code)
        if self.number is None:
            self.number = number
            self.say(f"{self.name}: stopping after this step (SIGINT now stops at once)")
