"""The offline engine: workers that claim the points of a study."""

import contextlib
import json
import math
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from common.errors import RunError
from common.log import log
from sweeps.children import Child, Children, Command
from sweeps.owner import LEASE_SECONDS, claim_of
from sweeps.progress import ProgressDisplay, Row
from sweeps.space import Sweep
from sweeps.study import PointStatus, Study
from sweeps.supervisor import Engine, Supervisor
from sweeps.worker import STUDY_UNUSABLE, Job

SIGNAL_HINTS = {"SIGKILL": " (out of memory?)", "SIGTERM": "", "SIGINT": ""}
MAX_IDLE_DEATHS = 3  # of workers that were killed before they had a point


class StudyEngine(Engine):
    """The workers of one command on a study. ``count`` is the most points they may train."""

    def __init__(self, study: Study, job: Job, count: int | None = None) -> None:
        super().__init__()
        self.study, self.job, self.left = study, job, count
        self.idle_deaths = 0
        self.noted_waiting = False

    def statuses(self) -> list[PointStatus]:
        return self.study.statuses()

    def has_ended(self, status: PointStatus) -> bool:
        mine = status.attrs.get("claim", {}).get("command") == self.study.command
        return mine and status.state != "running"

    def _claims(self) -> dict[int, dict[str, Any]]:
        """The open claims of this command's workers, by process id."""
        claims = (claim_of(t) for t in self.study.own_trials() if not t.state.is_finished())
        return {claim["owner"]["pid"]: claim for claim in claims}

    def next_command(self, children: Children) -> Command | None:
        """A worker, where more points wait than there are workers that have none yet."""
        if self.left == 0:
            return None
        if not self.study.waiting():
            trials = self.study.own_trials()
            failed = {self.study.key(t) for t in trials if t.state == TrialState.FAIL}
            self.study.enqueue_missing(exclude=failed)  # it may end its worker each time
        claims = self._claims()
        idle = [child for child in children.all if child.process.pid not in claims]
        if len(idle) >= self.study.waiting():
            return None
        count = None
        if self.left is not None:
            count = math.ceil(self.left / (children.jobs - len(children.all)))
            self.left -= count
        job = json.dumps(asdict(replace(self.job, count=count)))
        return Command(["-m", "sweeps.worker"], line=f"{job}\n", count=count)

    def work_remains(self) -> bool:
        """Whether points wait, or silent claims of others may turn out to be lost."""
        if self.left == 0:
            return False
        if self.study.waiting():
            return True
        stale = self.study.stale()
        if stale and not self.noted_waiting:
            self.noted_waiting = True
            minutes = LEASE_SECONDS // 60
            log.info(f"Waiting up to {minutes} minutes for {stale} silent points of others")
        return stale > 0

    def on_exit(self, child: Child) -> None:
        """Close the claims that a worker left open; ``RunError`` where none can work."""
        with contextlib.suppress(OSError):
            child.log.with_suffix(".json").unlink(missing_ok=True)
        code, (reason, by_signal) = child.process.returncode, _cause(child)
        trials = self.study.own_trials(child.process.pid)
        if self.left is not None and child.command.count:
            self.left += child.command.count - len(trials)
        for trial in trials:
            if not trial.state.is_finished():
                lost = by_signal or code == STUDY_UNUSABLE
                self.study.close_dead(trial, reason, lost, {"log": str(child.log.resolve())})
        if trials or child.stopped:
            return
        if code > 0:
            lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines()
            reason = lines[-1] if lines else "no message"
            raise RunError(f"a worker could not work: {reason}; see {child.log}")
        self.idle_deaths += by_signal
        if self.idle_deaths >= MAX_IDLE_DEATHS:
            raise RunError(f"a worker could not start: {reason}")

    def rows(self, statuses: list[PointStatus], children: Children) -> list[Row]:
        found, claims = [], self._claims()
        for child in sorted(children.all, key=lambda child: child.number):
            claim, known = claims.get(child.process.pid), {}
            with contextlib.suppress(OSError, ValueError):
                known = json.loads(child.log.with_suffix(".json").read_text(encoding="utf-8"))
            seconds = time.time() - claim["time"] if claim else None
            found.append(Row(str(child.number), known.get("name", "starting"), known, seconds))
        return found


def _cause(child: Child) -> tuple[str, bool]:
    """Why a worker ended, and whether a signal from outside ended it."""
    code = child.process.returncode
    if child.stopped:
        return "the sweep was stopped", True
    if code >= 0:
        return f"the worker ended with exit code {code}; see {child.log}", False
    name = signal.Signals(-code).name
    hint = SIGNAL_HINTS.get(name, f"; see {child.log}")
    return f"the worker was killed by {name}{hint}", name in SIGNAL_HINTS


def log_folder(where: str, sweep: Sweep) -> Path:
    """Where workers write their logs: beside a journal, else under studies/."""
    if "://" in where:
        return sweep.path("-logs")
    return Path(where).parent / f"{Path(where).stem}-logs"


def run_offline(
    study: Study,
    job: Job,
    children: Children,
    *,
    count: int | None = None,
    retry_failed: bool = False,
    **limits: Any,
) -> int:
    """Train a sweep's points with local workers; exit code and ``limits`` of ``Supervisor``.

    Raises ``RunError`` when workers cannot start or the study cannot be written.
    """
    display = ProgressDisplay(study.sweep, children.jobs)
    study.enqueue_missing(retry_failed)
    supervisor = Supervisor(StudyEngine(study, job, count), children, display, **limits)
    code = supervisor.run(study.statuses())
    if code == 130:
        display.print("Stopped; give the same command again to continue.")
    return code
