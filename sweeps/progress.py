"""What a sweep shows while it runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from common.files import relative_to_cwd
from experiment.display import BrokenPipeSafeConsole, clock
from experiment.identity import shortened_name
from sweeps.space import Point, Sweep
from sweeps.study import PointStatus
from tasks.metrics import format_value

COLOURS = {"done": "green", "stopped": "blue", "running": "cyan", "failed": "red",
           "missing": "yellow"}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One current run: worker, point, its latest figures and the seconds so far."""

    worker: str
    name: str
    known: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def fraction(self) -> float:
        """The share of its images that are trained."""
        seen, total = self.known.get("images_seen"), self.known.get("images_total")
        return min(1.0, seen / total) if seen and total else 0.0


def label(point: Point, varied: list[str], args: dict[str, Any] | None = None) -> str:
    """The arguments of a point that differ within its sweep: ``ks=3:9 layers=11``."""
    shown = args or point.args
    names = [name for name in varied if name in shown]
    return " ".join(f"{name}={_short(shown[name])}" for name in names) or point.key


def run_name(sweep: Sweep, point: Point, key: str) -> str:
    """The name of a point's run: it differs where settings differ."""
    names = [name for name in sweep.varied if name in point.args]
    text = "-".join([sweep.name, *(f"{name}{point.args[name]}" for name in names)])
    text = "-".join(text.replace("=", "").split()) if names else f"{sweep.name}-{key}"
    return shortened_name(text, key)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class ProgressDisplay:
    """Points done of total, the best so far, time left, one line per current run."""

    def __init__(self, sweep: Sweep, jobs: int, console: Console | None = None) -> None:
        self.console = console or BrokenPipeSafeConsole()
        self.sweep, self.jobs = sweep, jobs
        self.seconds: list[float] = []
        self.best: tuple[float, str] | None = None
        self.failures = 0  # of this command
        self.counts = Counter[str]()
        self.rows: list[Row] = []
        self.live = Live(console=self.console, refresh_per_second=2, transient=True)

    def __enter__(self) -> ProgressDisplay:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *details: Any) -> None:
        self.live.stop()

    @property
    def done(self) -> int:
        """Points that need no further run: done, or stopped early."""
        return self.counts["done"] + self.counts["stopped"]

    @property
    def target_reached(self) -> bool:
        """Whether the best value has reached the metric's target."""
        target = self.sweep.target
        return not (self.best is None or target is None or self._better(target, self.best[0]))

    def _better(self, value: float, than: float) -> bool:
        return value < than if self.sweep.goal == "minimize" else value > than

    def name(self, status: PointStatus) -> str:
        """What tells a point from the others of its sweep."""
        return label(status.point, self.sweep.varied, status.args)

    def print(self, line: str) -> None:
        """One line that stays."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def begin(self, statuses: list[PointStatus]) -> None:
        """Show what is already there."""
        self.update(statuses, [])
        self.print(f"{self.sweep.name}: {self.done} of {len(statuses)} points done")

    def update(self, statuses: list[PointStatus], rows: list[Row]) -> None:
        """Count the points of all commands, and redraw the live table."""
        self.counts, self.rows = Counter(status.state for status in statuses), rows
        for status in statuses:
            value = status.value if status.state == "done" else None
            if value is not None and (self.best is None or self._better(value, self.best[0])):
                self.best = (value, self.name(status))
        if self.live.is_started:
            self.live.update(self._table())

    def announce(self, results: list[PointStatus]) -> None:
        """Say how runs of this command ended. ``update`` has counted them."""
        number = self.done - sum(result.state in ("done", "stopped") for result in results)
        metric = self.sweep.metric
        for result in results:
            name, value = self.name(result), result.value
            if result.state in ("failed", "missing"):
                self.failures += result.state == "failed"
                state = "failed" if result.state == "failed" else "not done"
                self.print(f"{state}: {name}: {result.attrs.get('reason')}")
                continue
            number += 1
            seconds = result.attrs.get("seconds") or 0.0
            self.seconds.append(seconds)
            shown = "" if value is None else f"{metric} {format_value(metric, value)} "
            note = ", stopped early" if result.state == "stopped" else ""
            self.print(
                f"[{number}/{self.counts.total()}] {name}: {shown}in {clock(seconds)}{note}"
                f"{self._best('; ')}{self._left()}"
            )

    def close(self, statuses: list[PointStatus]) -> int:
        """Say how the points stand; exit code 0, or 1 where some are failed or missing.

        After the target was reached, none is missing.
        """
        self.print(counts_line(statuses))
        states = ("failed",) if self.target_reached else ("failed", "missing")
        bad = [status for status in statuses if status.state in states]
        for status in bad:
            if "reason" in status.attrs:
                self.print(f"  {status.state}: {self.name(status)}: {status.attrs['reason']}")
        if any(status.state == "failed" for status in bad):
            self.print("Give the same command with --retry-failed to run the failed points again.")
        return 1 if bad else 0

    def _table(self) -> Group:
        metric = self.sweep.metric
        table = Table("worker", "point", "", "images", metric, "images/s", "time", box=None)
        for row in self.rows:
            total = row.known.get("images_total")
            images = _number(row.known.get("images_seen")) + (f" of {total:,}" if total else "")
            table.add_row(
                Text(row.worker), Text(row.name), ProgressBar(1.0, row.fraction, width=12), images,
                format_value(metric, row.known.get(metric)),
                _number(row.known.get("perf/images_per_second")),
                "" if row.seconds is None else clock(row.seconds),
            )  # fmt: skip
        head = f"{self.sweep.name}: {self.done} of {self.counts.total()} done"
        head += f", {self.counts['failed']} failed" if self.counts["failed"] else ""
        others = self.counts["running"] - len(self.rows)
        head += f", {others} running in other commands" if others > 0 else ""
        return Group(Text(f"{head}{self._best(', ')}{self._left()}"), table)

    def _best(self, before: str) -> str:
        if not self.best:
            return ""
        value, name = self.best
        return f"{before}best {format_value(self.sweep.metric, value)} ({name})"

    def _left(self) -> str:
        """The time left, by runs that have ended, or else by the progress of the current ones."""
        open_points = self.counts.total() - self.done - self.counts["failed"]
        begun = [row for row in self.rows if row.seconds and row.fraction > 0.01]
        each = self.seconds or [row.seconds / row.fraction for row in begun if row.seconds]
        if not each or open_points <= 0:
            return ""
        rest = max(0.0, open_points - sum(row.fraction for row in begun))
        workers = min(open_points, max(self.jobs, self.counts["running"]))
        return f"; about {clock(sum(each) / len(each) * rest / workers)} left"


def status_table(sweep: Sweep, statuses: list[PointStatus]) -> Table:
    """Every point with its state, for ``--status``."""
    table = Table("state", "point", sweep.metric, "note", box=None)
    for status in statuses:
        name = label(status.point, sweep.varied, status.args)
        style = COLOURS[status.state]
        value = format_value(sweep.metric, status.value)
        table.add_row(status.state, Text(name), value, Text(note_of(status)), style=style)
    return table


def note_of(status: PointStatus) -> str:
    """Why a point failed, who runs it, or where its run is."""
    attrs = status.attrs
    if status.state == "running":
        return f"on {attrs.get('claim', {}).get('owner', {}).get('host', 'the server')}"
    folder = attrs.get("folder", "")
    where = relative_to_cwd(Path(folder)) if folder and "://" not in folder else folder
    return attrs.get("reason") or where


def counts_line(statuses: list[PointStatus]) -> str:
    """``12 points: 9 done, 1 running, 0 failed, 2 missing``."""
    states = Counter(status.state for status in statuses)
    shown = [
        f"{states[s]} {'stopped early' if s == 'stopped' else s}"
        for s in COLOURS
        if s != "stopped" or s in states
    ]
    return f"{len(statuses)} points: {', '.join(shown)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
