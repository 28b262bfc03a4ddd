"""The online engine: a sweep on W&B's server, and W&B's own agents here to run its points.

The server hands out the points. Which sweep belongs to a file is kept in ``studies/NAME.wandb``,
so that the same command goes on with it. W&B's agents end with exit code 0 whatever happened and
stop after three early failures; here the runs on the server decide the exit code, and the agents
are told to go on. Points that failed are never handed out again by the server: ``--retry-failed``
runs them under their old run ids, so that each point keeps one run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import write_text_atomically
from sweeps.offline import Stop, stop_signals
from sweeps.progress import Board
from sweeps.space import Point, Sweep, checked
from sweeps.study import Standing
from sweeps.workers import ROOT, thread_share
from tracking.server import is_current_server, wandb_settings
from tracking.server_sweep import create_sweep, find_sweep

POLL_SECONDS = 5  # between two looks at the server's runs
APART_SECONDS = 2  # agents that start together were seen to get the same point
END_SECONDS = 30  # for runs to save and leave when told to stop now
STATES = {"finished": "done", "running": "running", "pending": "running", "preempting": "missing",
          "preempted": "missing"}  # fmt: skip


@dataclass
class Child:
    """An agent, or the run of one failed point again."""

    number: int
    process: subprocess.Popen
    log: Path
    is_agent: bool


class ServerSweep:
    """A sweep on W&B's server: ``path`` is ENTITY/PROJECT/ID."""

    def __init__(self, path: str, sweep: Sweep | None = None) -> None:
        """Find it. Raises ``InputError`` where there is none, or none that may be seen."""
        self.path = path
        try:
            self.found = find_sweep(path)
        except InputError as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise InputError(
                f"--join {path}: no such sweep, or no permission to see it ({reason}); give "
                "ENTITY/PROJECT/ID as in the sweep's address"
            ) from None
        self.url, self.config = self.found.url, self.found.config
        self.sweep = sweep or checked(Path(path), self.config)
        if self.sweep.config["parameters"] != self.config.get("parameters"):
            raise InputError(f"--join {path}: not the sweep of {self.sweep.file}; leave FILE out")

    @classmethod
    def create(cls, sweep: Sweep, place: dict[str, str]) -> ServerSweep:
        """A new sweep on the server. Raises ``InputError`` where it is refused."""
        made = create_sweep(sweep.config, place["project"], place.get("entity"))
        return cls(made.path, sweep)

    @classmethod
    def remembered(cls, sweep: Sweep) -> ServerSweep | None:
        """The sweep that the same command made before, if it is there and has the same points."""
        try:
            known = json.loads(_memory(sweep).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not is_current_server(known.get("server")):
            return None
        try:
            return cls(known["path"], sweep)
        except InputError:  # deleted meanwhile, or the file was changed
            return None

    def remember(self) -> None:
        """Keep the address, so that the same command goes on with this sweep."""
        known = {"path": self.path, "server": wandb_settings().base_url}
        write_text_atomically(_memory(self.sweep), json.dumps(known) + "\n")

    def standings(self) -> list[Standing]:
        """Where every point stands on the server, in the sweep's order.

        Raises whatever W&B's client raises when the server does not answer.
        """
        runs = self.found.runs()
        if self.sweep.method == "grid":
            by_key: dict[str, list[Any]] = {}
            for run in runs:
                by_key.setdefault(self._point(run).key, []).append(run)
            return [self._standing(p, by_key.get(p.key, [])) for p in self.sweep.grid()]
        found = [self._standing(self._point(run), [run]) for run in runs]
        to_come = max(0, self.sweep.run_cap - len(runs))
        return found + [Standing(Point({}, "to come"), "missing")] * to_come

    def _point(self, run: Any) -> Point:
        args = {k: v for k, v in sorted(run.config.items()) if k in self.sweep.parameters}
        return self.sweep.point(args)

    def _standing(self, point: Point, runs: list[Any]) -> Standing:
        """A point's best run decides: a finished one, else one that runs, else the last."""
        order = ["finished", "running", "pending"]
        runs = sorted(runs, key=lambda r: order.index(r.state) if r.state in order else len(order))
        if not runs:
            return Standing(point, "missing")
        run, summary = runs[0], runs[0].summary
        value = summary.get(self.sweep.metric)
        value = value.get("last", value.get("min")) if hasattr(value, "get") else value
        known = {"run_id": run.id, "folder": run.url, "known": summary}
        state = STATES.get(run.state, "failed")
        if state == "done" and not isinstance(value, int | float):
            state, known["reason"] = "failed", f"the run ended without {self.sweep.metric}"
        elif state == "failed":
            known["reason"] = str(summary.get("reason") or f"the run {run.state}; see {run.url}")
        return Standing(point, state, known, value if state == "done" else None)


class OnlineSweep:
    """One command's share of a sweep on the server: agents until it hands out nothing more."""

    def __init__(
        self, server: ServerSweep, board: Board, jobs: int, gpus: list[str], logs: Path
    ) -> None:
        self.server, self.board, self.jobs, self.gpus, self.logs = server, board, jobs, gpus, logs
        self.children: list[Child] = []
        self.seen: dict[str, str] = {}
        self.trouble = ""

    def run(self, retry_failed: bool = False) -> int:
        """Exit code: 0 every point done or running elsewhere, 1 some are not, 130 stopped."""
        standings = self.server.standings()
        self.board.say(f"W&B sweep {self.server.path}: {self.server.url}")
        with self.board, stop_signals() as stop:
            self.board.begin(standings)
            self.seen = {s.point.key: s.state for s in standings}
            missing = sum(s.state == "missing" for s in standings)
            path = ["-m", "wandb", "agent", self.server.path]
            self._work(stop, [(path, {})] * min(self.jobs, missing))
            if retry_failed and not stop.asked:
                failed = [s for s in standings if s.state == "failed"]
                self._work(stop, [self._again(standing) for standing in failed])
        code = self.board.close(self.server.standings())
        return 130 if stop.asked else code

    def _again(self, standing: Standing) -> tuple[list[str], dict[str, str]]:
        """The command of a failed point, as the agent would start it, under its old run id."""
        self.seen.pop(standing.point.key)
        entity, project, sweep_id = self.server.path.split("/")
        command = standing.point.command(self.server.sweep.task)
        return [str(ROOT / "train.py"), *command], {
            "WANDB_ENTITY": entity, "WANDB_PROJECT": project, "WANDB_SWEEP_ID": sweep_id,
            "WANDB_RUN_ID": standing.attrs["run_id"],
        }  # fmt: skip

    def _work(self, stop: Stop, commands: list[tuple[list[str], dict[str, str]]]) -> None:
        """Run the commands, at most ``jobs`` at a time, and say what becomes of the points."""
        commands, told, looked = list(commands), 0, 0.0
        try:
            while self.children or (commands and not stop.asked):
                if commands and len(self.children) < self.jobs and not stop.asked:
                    self._start(*commands.pop(0))
                    time.sleep(APART_SECONDS)
                while told < min(stop.asked, 3):  # the third one kills
                    told += 1
                    self._stop(told)
                    time.sleep(0.5)
                if told == 2 and time.monotonic() - stop.at > END_SECONDS:
                    stop.asked = 3
                self.children = [c for c in self.children if not self._has_ended(c)]
                if time.monotonic() - looked > POLL_SECONDS or not self.children:
                    looked = time.monotonic()
                    self._look()
                time.sleep(0.5)
        finally:
            for child in self.children:
                child.process.kill()

    def _start(self, arguments: list[str], env: dict[str, str]) -> None:
        number = min(set(range(self.jobs)) - {child.number for child in self.children})
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"agent-{os.uname().nodename}-{number}.log"
        # The server tells agents to run "python": it must be this one, with its packages.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        told = {"PATH": path, "WANDB_AGENT_DISABLE_FLAPPING": "true",
                "WANDB_AGENT_MAX_INITIAL_FAILURES": "1000000"}  # fmt: skip
        if self.gpus:
            told["CUDA_VISIBLE_DEVICES"] = self.gpus[number % len(self.gpus)]
        leash = ["-m", "sweeps.parent_death", str(os.getpid())]  # ended when this process is killed
        with open(log, "ab") as file:
            process = subprocess.Popen(
                [sys.executable, *leash, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, start_new_session=True,
                env=os.environ | told | thread_share(self.jobs) | env,
            )  # fmt: skip
        self.children.append(Child(number, process, log, is_agent=arguments[0] == "-m"))

    def _has_ended(self, child: Child) -> bool:
        code = child.process.poll()
        if code and child.is_agent:  # an agent's failed runs do not show in it
            self.board.say(f"An agent ended with exit code {code}; see {child.log}")
        return code is not None

    def _stop(self, asked: int) -> None:
        """Once: agents finish the runs in hand. Twice: their runs save, leave and are requeued.

        Agents count Ctrl-C themselves: the second one sends SIGTERM to their run.
        """
        if asked == 1:
            self.board.say("Stopping after the runs in hand; Ctrl-C again stops now.")
        for child in self.children:
            if child.is_agent:
                child.process.send_signal(signal.SIGINT)
            elif asked > 1:
                child.process.terminate()

    def _look(self) -> None:
        """Say which points have ended since the last look; the server may be away for a while."""
        try:
            standings = self.server.standings()
        except Exception as error:  # any of the client's errors: the next look may succeed
            trouble = f"W&B's server cannot be asked: {type(error).__name__}; the agents go on"
            if trouble != self.trouble:
                self.board.say(trouble)
            self.trouble = trouble
            return
        rows = []
        self.board.recount(standings)
        for standing in standings:
            name, known = self.board.name(standing), standing.attrs.get("known", {})
            seconds = known.get("_runtime") or 0.0
            if standing.state == "running":
                rows.append((standing.attrs["run_id"], name, known, seconds))
            if standing.state in ("done", "failed"):
                if self.seen.get(standing.point.key) == standing.state:
                    continue
                if standing.state == "done":
                    self.board.finished(name, standing.value, seconds)
                else:
                    self.board.failed(name, standing.attrs["reason"])
            self.seen[standing.point.key] = standing.state
        self.board.show(rows)


def _memory(sweep: Sweep) -> Path:
    return Path("studies") / f"{sweep.file_name}.wandb"
