"""The online engine: W&B's own agents run the points of a sweep on W&B's server.

A file's sweep is kept in ``studies/NAME.wandb``, so that the same command continues it. The runs
on the server decide the exit code, since agents end with 0 whatever happened. The server never
hands out a failed point again: ``--retry-failed`` runs it under its old run id.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import write_text_atomically
from sweeps.children import ROOT, Child, Children, Command
from sweeps.progress import ProgressDisplay, Row
from sweeps.space import Point, Sweep
from sweeps.study import PointStatus
from sweeps.supervisor import Engine, Supervisor
from sweeps.sweep_file import parse_sweep
from tracking.api import (
    NotFound,
    ServerUnavailable,
    create_sweep,
    find_sweep,
    runs_of,
    summary_form,
)
from tracking.server import is_current_server, wandb_settings

WANDB_STATES = {"finished": "done", "running": "running", "pending": "running",
                "preempting": "missing", "preempted": "missing"}  # fmt: skip


class OnlineSweep:
    """A sweep on W&B's server: ``path`` is ENTITY/PROJECT/ID."""

    def __init__(
        self, path: str, sweep: Sweep | None = None, *, skip_invalid: bool = False
    ) -> None:
        """Find it, ``sweep`` or else the server's own definition.

        Raises ``NotFound`` or ``ServerUnavailable``, and ``InputError`` for a definition that
        cannot be run here.
        """
        found = find_sweep(path)
        self.path, self.url, self.config = path, found.url, dict(found.config)
        self.sweep = sweep or parse_sweep(Path(path), self.config, skip_invalid=skip_invalid)

    @property
    def is_of_file(self) -> bool:
        """Whether the server's sweep has the parameters of the file."""
        return self.sweep.config["parameters"] == self.config.get("parameters")

    @cached_property
    def server_keys(self) -> set[str]:
        """Keys of the points in the server's own definition of a grid."""
        own = parse_sweep(Path(self.path), self.config, skip_invalid=True)
        return {point.key for point in own.grid()}

    def server_has_other_points(self) -> bool:
        """Whether the server's grid still has points that the file no longer holds."""
        done = {self._point(run).key for run in runs_of(self.path)}
        return bool(self.server_keys - done - {point.key for point in self.sweep.grid()})

    @classmethod
    def join(cls, path: str, sweep: Sweep | None, skip_invalid: bool) -> OnlineSweep:
        """The sweep that --join names. Raises ``InputError``."""
        try:
            found = cls(path, sweep, skip_invalid=skip_invalid)
        except (NotFound, ServerUnavailable) as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise InputError(
                f"--join {path}: no such sweep, or no permission to see it ({reason}); give "
                "ENTITY/PROJECT/ID as in the sweep's address"
            ) from None
        if not found.is_of_file:
            raise InputError(f"--join {path}: not the sweep of {found.sweep.file}; leave FILE out")
        return found

    @classmethod
    def create(cls, sweep: Sweep, place: Mapping[str, Any]) -> OnlineSweep:
        """A new sweep on the server. Raises ``InputError`` where it is refused."""
        config = {k: v for k, v in sweep.config.items() if k not in ("group", "tags", "notes")}
        if sweep.method == "random" and (sweep.seeds or 1) > 1:
            raise InputError(
                f"{sweep.file}: --seeds with a random sweep: W&B's server would draw each run's "
                "seed; leave --seeds out, or give --mode offline"
            )
        if sweep.run_cap and sweep.seeds:
            config["run_cap"] = sweep.run_cap * sweep.seeds
            uncapped = {k: v for k, v in sweep.config.items() if k != "run_cap"}
            within = sweep.seeds > 1 and sweep.varied[-1] != "seed"
            if within and len(replace(sweep, config=uncapped).rows()) > config["run_cap"]:
                raise InputError(
                    f"{sweep.file}: run_cap with --seeds: W&B's server would stop within a "
                    "setting; leave run_cap out, or give --mode offline"
                )
        return cls(create_sweep(config, place["project"], place.get("entity")), sweep)

    def statuses(self) -> list[PointStatus]:
        """The state of every point on the server, in the sweep's order."""
        runs = [(self._point(run), run) for run in runs_of(self.path)]
        if self.sweep.method == "grid":
            by_key: dict[str, list[Any]] = defaultdict(list)
            for point, run in runs:
                by_key[point.key].append(run)
            return [self._status(point, by_key[point.key]) for point in self.sweep.grid()]
        to_come = (self.sweep.run_cap or 0) * (self.sweep.seeds or 1) - len(runs)
        found = [self._status(point, [run]) for point, run in runs]
        return found + [PointStatus(Point({}, "not drawn yet"), "missing")] * to_come

    def _point(self, run: Any) -> Point:
        args = {k: v for k, v in sorted(run.config.items()) if k in self.sweep.parameters}
        return self.sweep.point(args)

    def _status(self, point: Point, runs: list[Any]) -> PointStatus:
        """A point's best run decides: a finished one, else one that runs, else the last."""
        if not runs:
            return PointStatus(point, "missing")
        order = {"finished": 0, "running": 1, "pending": 2}
        run = min(runs, key=lambda run: order.get(run.state, 3))
        summary = run.summary_metrics
        last = summary_form(summary, {})["last"]
        value = last.get(self.sweep.metric)
        attrs = {"run_id": run.id, "folder": run.url, "known": summary | last}
        attrs["seconds"] = summary.get("_runtime") or 0.0
        state = WANDB_STATES.get(run.state, "failed")
        if state == "done" and summary.get("state") == "stopped":
            state = "stopped"
        if state == "done" and value is None:
            state, attrs["reason"] = "failed", f"the run ended without {self.sweep.metric}"
        if state == "failed" and "reason" not in attrs:
            attrs["reason"] = str(summary.get("reason") or f"the run {run.state}; see {run.url}")
        return PointStatus(point, state, attrs, value if state in ("done", "stopped") else None)


class AgentEngine(Engine):
    """W&B's agents on a sweep, then the runs of failed points again where asked."""

    poll_seconds = 5.0
    start_interval = 2.0  # agents that start together were seen to get the same point

    def __init__(
        self,
        online: OnlineSweep,
        display: ProgressDisplay,
        statuses: list[PointStatus],
        env: dict[str, str],
    ) -> None:
        super().__init__()
        self.results(statuses)  # what has ended before is not announced
        self.online, self.display, self.env = online, display, env
        self.queue: list[Command] = []
        self.read_error = ""

    def add_agents(self, number: int, count: int | None) -> None:
        """Start ``number`` agents, for ``count`` points together."""
        # The server tells agents to run "python": it must be this one, with its packages.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        env = self.env | {"PATH": path, "WANDB_AGENT_DISABLE_FLAPPING": "true",
                          "WANDB_AGENT_MAX_INITIAL_FAILURES": "1000000"}  # fmt: skip
        for index in range(number if count is None else min(number, count)):
            command = ["-m", "wandb", "agent", self.online.path]
            if count is not None:
                command += ["--count", str((count + number - 1 - index) // number)]
            self.queue.append(Command(command, env, is_agent=True))

    def add_run(self, status: PointStatus) -> None:
        """Run a point as an agent would: a failed one again, or one unknown to the server."""
        entity, project, sweep_id = self.online.path.split("/")
        made = hashlib.sha256(f"{sweep_id} {status.point.key}".encode()).hexdigest()[:8]
        env = self.env | {
            "WANDB_ENTITY": entity, "WANDB_PROJECT": project, "WANDB_SWEEP_ID": sweep_id,
            "WANDB_RUN_ID": status.attrs.get("run_id", made),
        }  # fmt: skip
        command = status.point.arguments(self.online.sweep)
        self.queue.append(Command([str(ROOT / "train.py"), *command], env, point=status.point.key))

    def statuses(self) -> list[PointStatus] | None:
        try:
            found, problem = self.online.statuses(), ""
        except Exception as error:  # any of the client's errors: the next poll may succeed
            found = None
            problem = (
                f"W&B's server cannot be asked ({type(error).__name__}); states are the last read"
            )
            if problem != self.read_error:
                self.display.print(problem)
        self.read_error = problem
        return found

    def next_command(self, children: Children) -> Command | None:
        return self.queue.pop(0) if self.queue else None

    def work_remains(self) -> bool:
        return bool(self.queue)

    def on_exit(self, child: Child) -> None:
        code = child.process.returncode
        self.announced.discard((child.command.point, "failed"))  # its new state is announced
        if code and child.command.is_agent and not child.stopped:
            self.display.print(f"An agent ended with exit code {code}; see {child.log}")

    def rows(self, statuses: list[PointStatus], children: Children) -> list[Row]:
        return [
            Row(s.attrs["run_id"], self.display.name(s), s.attrs["known"], s.attrs["seconds"])
            for s in statuses
            if s.state == "running"
        ]


def run_online(
    online: OnlineSweep,
    children: Children,
    env: dict[str, str],
    *,
    count: int | None = None,
    retry_failed: bool = False,
    **limits: Any,
) -> int:
    """Run W&B's agents until the server has no more points.

    ``env`` is added to the environment of every run; exit code and ``limits`` of ``Supervisor``.
    """
    statuses = online.statuses()
    display = ProgressDisplay(online.sweep, children.jobs)
    engine = AgentEngine(online, display, statuses, env)
    display.print(f"W&B sweep {online.path}: {online.url}")
    missing = [status for status in statuses if status.state == "missing"]
    known = online.sweep.method != "grid" or online.is_of_file
    extra = [s for s in missing if not known and s.point.key not in online.server_keys]
    if extra:
        display.print(f"{len(extra)} points are not in the server's sweep; this command adds them")
    own = extra + [s for s in statuses if retry_failed and s.state == "failed"]
    own, rest = own[:count], None if count is None else max(0, count - len(own))
    if len(missing) > len(extra) and rest != 0:
        engine.add_agents(min(children.jobs, len(missing) - len(extra)), rest)
    for status in own:
        engine.add_run(status)
    return Supervisor(engine, children, display, **limits).run(statuses)


def known_sweep(sweep: Sweep) -> OnlineSweep | None:
    """The sweep that the same command made before; None where it made none on this server.

    Raises ``InputError`` where it cannot be read, is gone, or has other parameters.
    """
    try:
        known = json.loads(sweep.path(".wandb").read_text(encoding="utf-8"))
        path, server = known["path"], known.get("server")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not is_current_server(server):
        return None
    try:
        found = OnlineSweep(path, sweep)
    except NotFound:
        raise InputError(
            f"{sweep.file}: its sweep {path} is no longer on the server; --new starts another"
        ) from None
    if not found.is_of_file and (sweep.method != "grid" or found.server_has_other_points()):
        raise InputError(
            f"{sweep.file}: its parameters differ from those of its sweep {path}, which would hand "
            "out others; --new starts another sweep"
        )
    return found


def remember(online: OnlineSweep) -> None:
    """Store the address, so that the same command continues this sweep."""
    known = {"path": online.path, "server": wandb_settings().base_url}
    write_text_atomically(online.sweep.path(".wandb"), json.dumps(known) + "\n")
