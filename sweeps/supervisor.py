"""Supervision of worker processes: start them, poll, show, forward stops, collect exits."""

import signal
import time

from common.log import log_through
from experiment.stop import handled_signals
from sweeps.children import Child, Children, Command
from sweeps.progress import ProgressDisplay, Row
from sweeps.study import PointStatus

END_SECONDS = 30  # for runs to save and end after a stop of level 2
STOP_NOTES = {1: "Stopping after the current runs; Ctrl-C again stops now.",
              2: "Stopping now; the current runs are saved."}  # fmt: skip


class Stop:
    """A stop request; ``level``: 1 finish the current runs, 2 save them and stop, 3 kill them."""

    def __init__(self) -> None:
        self.level = 0
        self.by_user = False
        self.time = 0.0
        self.reason = ""

    def request(self, level: int, reason: str = "") -> None:
        """Raise the level."""
        if level > self.level:
            self.level, self.time = level, time.monotonic()
            self.reason = reason or STOP_NOTES.get(level, "")

    def on_signal(self, number: int) -> None:
        """Each Ctrl-C raises the level; other signals stop now."""
        self.by_user = True
        self.request(self.level + 1 if number == signal.SIGINT else 2)


class Engine:
    """What differs between workers on a study and W&B's agents."""

    poll_seconds = 1.0
    start_interval = 0.0  # seconds between two starts

    def __init__(self) -> None:
        self.announced: set[tuple[str, str]] = set()  # keys and states of points that have ended

    def statuses(self) -> list[PointStatus] | None:
        """The state of every point; None where it cannot be read now."""
        raise NotImplementedError

    def has_ended(self, status: PointStatus) -> bool:
        """Whether a run (of this command, if known) has ended and decides the point's state."""
        return status.state in ("done", "stopped", "failed")

    def next_command(self, children: Children) -> Command | None:
        """The next process to start, if any."""
        raise NotImplementedError

    def work_remains(self) -> bool:
        """Whether there may be a process to start later."""
        raise NotImplementedError

    def on_exit(self, child: Child) -> None:
        """Clean up after a child that has ended."""

    def rows(self, statuses: list[PointStatus], children: Children) -> list[Row]:
        """A row of the display for each current run."""
        raise NotImplementedError

    def results(self, statuses: list[PointStatus]) -> list[PointStatus]:
        """The points whose runs ended since the last call."""
        ended = {(s.point.key, s.state): s for s in statuses if self.has_ended(s)}
        found = [status for end, status in ended.items() if end not in self.announced]
        self.announced = set(ended)
        return found


class Supervisor:
    """Runs the processes of one command, until nothing remains or a stop is requested.

    ``max_failures`` and ``max_hours`` end the sweep early, as the metric's target does.
    """

    def __init__(
        self,
        engine: Engine,
        children: Children,
        display: ProgressDisplay,
        max_failures: int | None = None,
        max_hours: float | None = None,
    ) -> None:
        self.engine, self.children, self.display = engine, children, display
        self.max_failures, self.max_hours = max_failures, max_hours
        self.stop = Stop()
        self.began = time.monotonic()
        self.latest: list[PointStatus] = []  # read last

    def run(self, before: list[PointStatus]) -> int:
        """Run everything, shown by the display; ``before`` are the points' states now.

        Exit code: 0 every point done or running elsewhere, 1 some are not, 130 stopped.
        """
        with (
            self.display,
            log_through(self.display.print),
            handled_signals(self.stop.on_signal),
        ):
            self.latest = before
            self.display.begin(before)
            try:
                self._supervise()
            finally:
                for child in self.children.all:
                    child.kill()
                self._collect()
        after = self.engine.statuses()
        code = self.display.close(self.latest if after is None else after)
        if self.stop.by_user:
            return 130
        return 1 if after is None else code  # how the last runs ended is not known

    def _supervise(self) -> None:
        """Processes that do not leave within ``END_SECONDS`` of a stop are killed."""
        level, polled, started = 0, -1e9, -1e9
        may_start = True  # checked once a poll, because each check reads the whole study
        while True:
            ended, now = self._collect(), time.monotonic()
            fresh = ended or now - polled > self.engine.poll_seconds
            if fresh:
                may_start, polled = True, now
                self._show()
                self.check_limits()
            if self.stop.level == 2 and now - self.stop.time > END_SECONDS:
                self.stop.request(3)
            while level < self.stop.level:
                level += 1
                self._forward(level)
            due = now - started >= self.engine.start_interval
            if not level and due and may_start and len(self.children.all) < self.children.jobs:
                command = self.engine.next_command(self.children)
                may_start = command is not None
                if command:
                    started = now
                    self.children.start(command)
                    continue
            if not self.children.all and (level or (fresh and not self.engine.work_remains())):
                return
            time.sleep(0.1)

    def _collect(self) -> bool:
        """Whether children have ended."""
        ended = self.children.collect()
        for child in ended:
            self.engine.on_exit(child)
        return bool(ended)

    def _show(self) -> None:
        statuses = self.engine.statuses()
        if statuses is not None:
            self.latest = statuses
            self.display.update(statuses, self.engine.rows(statuses, self.children))
            self.display.announce(self.engine.results(statuses))

    def check_limits(self) -> None:
        """Request a stop where a limit, or the metric's target, is reached."""
        hours, sweep = (time.monotonic() - self.began) / 3600, self.display.sweep
        if self.max_failures and self.display.failures >= self.max_failures:
            reason = f"--max-failures {self.max_failures} is reached"
        elif self.max_hours and hours > self.max_hours:
            reason = f"--max-hours {self.max_hours} is over"
        elif self.display.target_reached:
            reason = f"the target {sweep.metric} {sweep.target} is reached"
        else:
            return
        self.stop.request(1, f"{reason}: stopping after the current runs.")

    def _forward(self, level: int) -> None:
        """Pass a stop on to every child."""
        if level == self.stop.level and self.stop.reason:
            self.display.print(self.stop.reason)
        for child in self.children.all:
            {1: child.finish, 2: child.stop, 3: child.kill}[level]()
        if any(child.command.is_agent for child in self.children.all):
            time.sleep(0.5)  # an agent must have counted the first SIGINT before a second
