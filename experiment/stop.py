"""Stopping a run between two steps: one request, set by signals, pruning, limits or supervisors."""

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Any

from common.log import log

# SIGUSR1, SIGUSR2 and SIGXCPU are what batch schedulers send before a time limit.
SIGNALS = (
    signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU,
)  # fmt: skip


class StopRequest:
    """Asks a run to stop after the current step. The first request counts.

    A ``preempted`` run is saved and can be resumed; any other ends as ``stopped``.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.preempted = False
        self.exit_code = 0

    @property
    def requested(self) -> bool:
        return self.reason is not None

    def request(self, reason: str, *, preempted: bool = False, exit_code: int = 0) -> None:
        if self.reason is None:
            self.reason, self.preempted, self.exit_code = reason, preempted, exit_code


@contextlib.contextmanager
def stop_on_signals(stop: StopRequest) -> Iterator[None]:
    """``with``: the first of ``SIGNALS`` requests a stop; after it SIGINT ends the process."""

    def handle(number: int) -> None:
        exit_code, name = 128 + number, signal.Signals(number).name
        if stop.requested and number == signal.SIGINT:
            # Exit without cleanup: wandb's exit hook can block for a minute.
            os._exit(exit_code)
        if not stop.requested:
            stop.request(f"stopped by {name}", preempted=True, exit_code=exit_code)
            log.info(f"{name}: stopping after this step (SIGINT now stops at once)")

    with handled_signals(handle):
        yield


@contextlib.contextmanager
def handled_signals(handle: Callable[[int], object]) -> Iterator[None]:
    """``with``: call ``handle`` with the number of each of ``SIGNALS``.

    Has no effect outside the main thread, where Python handles no signals. A signal that was
    ignored before (a job in the background, ``nohup``) stays ignored.
    """
    before: dict[int, Any] = {}

    def receive(number: int, frame: Any) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        handle(number)

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_terminal() -> None:
    """After SIGHUP: print to /dev/null, since writing to a closed terminal is an error."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # closed from the start
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(null, descriptor)
    os.close(null)
