"""Supervision of worker processes: start them, poll, show, forward stops, collect exits."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from common.log import log_through
from experiment.stop import handled_signals
from sweeps.children import Child, Children, Command
from sweeps.progress import ProgressDisplay, Row
from sweeps.study import PointStatus

END_SECONDS = 30  # for runs to save and end after a stop of level 2


class Stop:
    """A stop request; ``level``: 1 finish the current runs, 2 save them and stop, 3 kill them."""

    def __init__(self) -> None:
        self.level = 0
        self.by_user = False
        self.time = 0.0
        self.reason = ""

    def request(self, level: int, reason: str = "", by_user: bool = False) -> None:
        """Raise the level."""
        if level > self.level:
            self.level, self.time, self.reason = level, time.monotonic(), reason
        self.by_user = self.by_user or by_user

    def on_signal(self, number: int) -> None:
        """Each Ctrl-C raises the level; other signals stop now."""
        self.request(self.level + 1 if number == signal.SIGINT else 2, by_user=True)


class Engine(Protocol):
    """What differs between workers on a study and W&B's agents."""

    poll_seconds: float
    start_interval: float  # seconds between two starts

    def statuses(self) -> list[PointStatus] | None:
        """The state of every point; None where it cannot be read now."""

    def results(self, statuses: list[PointStatus]) -> list[PointStatus]:
        """The points whose runs ended since the last call."""
        ...

    def next_command(self, children: Children) -> Command | None:
        """The next process to start, if any."""

    def work_remains(self) -> bool:
        """Whether there may be a process to start later."""
        ...

    def on_exit(self, child: Child) -> None:
        """Clean up after a child that has ended."""

    def rows(self, statuses: list[PointStatus], children: Children) -> list[Row]:
        """A row of the display for each current run."""
        ...


@dataclass(frozen=True)
class Limits:
    """When to stop before all is done."""

    max_failures: int | None = None
    max_hours: float | None = None

    def check(self, display: ProgressDisplay, seconds: float, stop: Stop) -> None:
        """Ask to stop where a limit, or the metric's target, is reached."""
        metric, target = display.sweep.metric, display.sweep.target
        reached = {
            f"--max-failures {self.max_failures} is reached": (
                self.max_failures and display.failures >= self.max_failures
            ),
            f"--max-hours {self.max_hours} is over": (
                self.max_hours and seconds > self.max_hours * 3600
            ),
            f"the target {metric} {target} is reached": display.target_reached,
        }
        for reason in (reason for reason, holds in reached.items() if holds):
            stop.request(1, f"{reason}: stopping after the current runs.")


def run_engine(
    engine: Engine,
    children: Children,
    display: ProgressDisplay,
    limits: Limits,
    before: list[PointStatus],
    after: Callable[[], list[PointStatus]],
) -> int:
    """Run the engine's processes, shown by ``display``; points' states ``before`` and ``after``.

    Exit code: 0 every point done or running elsewhere, 1 some are not, 130 stopped.
    """
    stop = Stop()
    with display, log_through(display.print), handled_signals(stop.on_signal):
        display.begin(before)
        supervise(engine, children, display, stop, limits)
    code = display.close(after())
    return 130 if stop.by_user else code


def supervise(
    engine: Engine, children: Children, display: ProgressDisplay, stop: Stop, limits: Limits
) -> None:
    """Run the engine's processes until nothing remains or a stop is requested.

    Processes that do not leave within ``END_SECONDS`` of a stop are killed.
    """
    level, polled, started, began = 0, -1e9, -1e9, time.monotonic()
    may_start = True  # checked once a poll, because each check reads the whole study
    try:
        while True:
            ended = children.collect()
            for child in ended:
                engine.on_exit(child)
            fresh = bool(ended) or time.monotonic() - polled > engine.poll_seconds
            if fresh:
                may_start, polled = True, time.monotonic()
                _show(engine, children, display)
                limits.check(display, polled - began, stop)
            if stop.level == 2 and time.monotonic() - stop.time > END_SECONDS:
                stop.request(3)
            while level < stop.level:
                level += 1
                _forward(level, children, display, stop)
            due = time.monotonic() - started >= engine.start_interval
            if not stop.level and due and may_start and len(children.all) < children.jobs:
                command = engine.next_command(children)
                may_start = command is not None
                if command:
                    started = time.monotonic()
                    children.start(command)
                    continue
            if not children.all and (stop.level or (fresh and not engine.work_remains())):
                return
            time.sleep(0.1)
    finally:
        for child in children.all:
            child.kill()
        for child in children.collect():
            engine.on_exit(child)


def _show(engine: Engine, children: Children, display: ProgressDisplay) -> None:
    statuses = engine.statuses()
    if statuses is not None:
        display.update(statuses, engine.rows(statuses, children))
        display.announce(engine.results(statuses))


def _forward(level: int, children: Children, display: ProgressDisplay, stop: Stop) -> None:
    """Pass a stop on to every child."""
    notes = {1: "Stopping after the current runs; Ctrl-C again stops now.",
             2: "Stopping now; the current runs are saved.", 3: ""}  # fmt: skip
    if level == stop.level or level == 1:
        note = stop.reason if level == stop.level and stop.reason else notes[level]
        if note:
            display.print(note)
    for child in children.all:
        {1: child.finish, 2: child.stop, 3: child.kill}[level]()
    if any(child.command.is_agent for child in children.all):
        time.sleep(0.5)  # an agent must have counted the first SIGINT before a second
