"""What a sweep shows while it runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.files import relative_to_cwd
from experiment.display import BrokenPipeSafeConsole, clock
from sweeps.space import Point, Sweep
from sweeps.study import Standing

STATE_STYLES = {"done": "green", "running": "cyan", "failed": "red", "missing": "yellow"}


def label(point: Point, varied: list[str], args: dict[str, Any] | None = None) -> str:
    """The arguments of a point that differ within its sweep: ``ks=3:9 layers=11``."""
    shown = args or point.args
    names = [name for name in varied if name in shown]
    return " ".join(f"{name}={_short(shown[name])}" for name in names) or point.key


def _args(standing: Standing) -> dict[str, Any] | None:
    """What a bayes sweep chose for the point, which its definition does not say."""
    return standing.attrs.get("claim", {}).get("args")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def varied_names(sweep: Sweep) -> list[str]:
    """The parameters that take more than one value."""
    return [
        name
        for name, parameter in sorted(sweep.parameters.items())
        if parameter.endless or len(parameter.listed()) > 1
    ]


class Board:
    """Points done of total, the best so far, time left, one line per run in hand."""

    def __init__(self, sweep: Sweep, jobs: int, console: Console | None = None) -> None:
        self.console = console or BrokenPipeSafeConsole()
        self.sweep, self.jobs = sweep, jobs
        self.varied = varied_names(sweep)
        self.seconds: list[float] = []
        self.best: tuple[float, str] | None = None
        self.counts = {"done": 0, "total": 0, "failed": 0}
        self._live: Live | None = None

    def __enter__(self) -> Board:
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=2, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        if self._live:
            self._live.__exit__(*details)

    def begin(self, standings: list[Standing]) -> None:
        """Take in what is already there."""
        self.counts["total"] = len(standings)
        self.recount(standings)
        self.say(f"{self.sweep.name}: {self.counts['done']} of {len(standings)} points done")

    def recount(self, standings: list[Standing]) -> None:
        """Take in what is done by now, here or in other commands."""
        done = [standing for standing in standings if standing.state == "done"]
        self.counts["done"] = len(done)
        for standing in done:
            self._weigh(standing.value, self.name(standing))

    def name(self, standing: Standing) -> str:
        """What tells a point from the others of its sweep."""
        return label(standing.point, self.varied, _args(standing))

    def say(self, line: str) -> None:
        """One line that stays."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def finished(self, name: str, value: float, seconds: float, note: str = "") -> None:
        """A point was done, and ``recount`` was told."""
        self.seconds.append(seconds)
        self._weigh(value, name)
        self.say(
            f"[{self.counts['done']}/{self.counts['total']}] {name}: {self.sweep.metric} "
            f"{value:.5f} in {clock(seconds)}{note}; best {self.best[0]:.5f} ({self.best[1]})"
            f"{self._left()}"
        )

    def failed(self, name: str, reason: str, lost: bool = False) -> None:
        """A point was not done: its run failed, or was ``lost`` (killed or stopped)."""
        self.counts["failed"] += 1
        self.say(f"{'not done' if lost else 'failed'}: {name}: {reason}")

    def show(self, rows: list[tuple[str, str, dict[str, Any], float | None]]) -> None:
        """Redraw the live table: (worker, point, what is known, seconds so far) a row."""
        if self._live is None:
            return
        table = Table("worker", "point", "images", self.sweep.metric, "images/s", "time", box=None)
        for worker, name, known, seconds in rows:
            seen, value = known.get("images_seen"), known.get(self.sweep.metric)
            speed = known.get("perf/images_per_second")
            table.add_row(
                worker, name, _number(seen, 0), _number(value, 5), _number(speed, 0),
                "" if seconds is None else clock(seconds),
            )  # fmt: skip
        best = f", best {self.best[0]:.5f} ({self.best[1]})" if self.best else ""
        counts = self.counts
        head = f"{self.sweep.name}: {counts['done']} of {counts['total']} done"
        head += f", {counts['failed']} failed" if counts["failed"] else ""
        self._live.update(Group(Text(f"{head}{best}{self._left()}"), table))

    def close(self, standings: list[Standing]) -> int:
        """Say how the points stand; exit code 0, or 1 where some are failed or missing."""
        self.say(counts_line(standings))
        bad = [standing for standing in standings if standing.state in ("failed", "missing")]
        for standing in bad:
            if "reason" in standing.attrs:
                reason = standing.attrs["reason"]
                self.say(f"  {standing.state}: {self.name(standing)}: {reason}")
        return 1 if bad else 0

    def _weigh(self, value: float, name: str) -> None:
        sign = 1 if self.sweep.goal == "minimize" else -1
        if self.best is None or sign * value < sign * self.best[0]:
            self.best = (value, name)

    def _left(self) -> str:
        open_points = self.counts["total"] - self.counts["done"] - self.counts["failed"]
        if not self.seconds or open_points <= 0:
            return ""
        mean = sum(self.seconds) / len(self.seconds)
        return f"; about {clock(mean * open_points / self.jobs)} left"


def standings_table(sweep: Sweep, standings: list[Standing]) -> Table:
    """Every point with its state, for ``--status``."""
    varied = varied_names(sweep)
    table = Table("state", "point", sweep.metric, "note", box=None)
    for standing in standings:
        attrs = standing.attrs
        note = attrs.get("reason") or _where(attrs.get("folder", ""))
        if standing.state == "running":
            note = f"on {attrs.get('claim', {}).get('owner', {}).get('host', 'the server')}"
        name = label(standing.point, varied, _args(standing))
        style = STATE_STYLES[standing.state]
        table.add_row(standing.state, name, _number(standing.value, 5), note, style=style)
    return table


def _where(folder: str) -> str:
    """A run folder as seen from here, or the address of a run on the server as it is."""
    return relative_to_cwd(Path(folder)) if folder and "://" not in folder else folder


def counts_line(standings: list[Standing]) -> str:
    """``12 points: 9 done, 1 running, 0 failed, 2 missing``."""
    states = [standing.state for standing in standings]
    return f"{len(states)} points: " + ", ".join(f"{states.count(s)} {s}" for s in STATE_STYLES)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
