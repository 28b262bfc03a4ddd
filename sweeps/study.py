"""The study behind an offline sweep: each point trained exactly once, also after kills.

Every point is a trial of an Optuna study, named by the hash of its settings. The storage hands a
waiting trial to exactly one process, which claims it (``sweeps.claims``). A lost claim whose run
had finished is completed from its run folder; any other becomes a failed trial, and its point
is queued again and resumes from its last checkpoint. An owner that comes back too late finds its
trial closed: its result is not counted.
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from common.errors import InputError
from sweeps.owner import HEARTBEAT_SECONDS, claim_of, finished_run, is_lost, silence
from sweeps.sampling import extend_random, random_rows
from sweeps.space import MAX_RUN_CAP, Point, Sweep
from sweeps.storage import open_storage

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
IGNORED = ("duplicate", "spare")  # kinds of trials that are no attempt at a point
QUEUE_LENGTH = 200  # points that wait at a time, so that the first run starts at once


@dataclass(frozen=True)
class PointStatus:
    """State of one point (done, stopped, running, failed, missing) and its decisive trial."""

    point: Point
    state: str
    attrs: dict[str, Any] = field(default_factory=dict)  # folder, run_id, reason, kind, claim
    value: float | None = None

    @property
    def args(self) -> dict[str, Any]:
        """The point's arguments; those of a bayes sweep are in its claim."""
        return self.point.args or self.attrs.get("claim", {}).get("args") or {}


class Study:
    """The points of ``sweep`` in the storage at ``where``: a journal's path or a database URL.

    ``command`` identifies the command whose workers these are. Opens the study or creates it;
    raises ``InputError`` for SQLite and for another sweep's study.
    """

    def __init__(
        self, where: str, sweep: Sweep, runs_dir: str = "runs", command: str | None = None
    ) -> None:
        self.sweep, self.where = sweep, where
        self.command = command or uuid.uuid4().hex
        self.runs_dir = str(Path(runs_dir).resolve())
        self.points = points_of(sweep)  # first: a wrong sweep leaves no file
        self.storage = open_storage(where)
        self.study_id = _open_study(self.storage, where, sweep)
        if sweep.method == "random":
            self.points = self._recorded_points()
        self.by_key = {point.key: point for point in self.points}
        self.key_of_legacy = {p.legacy_key: p.key for p in self.points if p.legacy_key}

    def _recorded_points(self) -> list[Point]:
        """Random points, which are recorded when drawn and never drawn again."""
        key = f"draws {self.sweep.space_hash}"
        attrs = self.storage.get_study_user_attrs(self.study_id)
        drawn = attrs.get(key)
        if drawn is None and any(name.startswith("draws ") for name in attrs):
            drawn = []  # the ranges were changed
        elif drawn is None:  # commit 73bab81 recorded them with each claim only
            trials = sorted(self.all_trials(), key=lambda trial: trial.number)
            drawn = [claim_of(t)["args"] for t in trials if "args" in claim_of(t)]
        rows = extend_random(self.sweep, drawn)
        if rows != drawn and len(rows) >= len(drawn):  # a smaller run_cap forgets none
            self.storage.set_study_user_attr(self.study_id, key, rows)
        return self.sweep.points(random_rows(self.sweep, rows))

    # Reading

    def statuses(self) -> list[PointStatus]:
        """The state of every point now, in the order of the sweep."""
        trials: dict[str, list[FrozenTrial]] = defaultdict(list)
        for trial in self.all_trials():
            if trial.user_attrs.get("kind") not in IGNORED:
                trials[self.key(trial)].append(trial)
        found = [status_of(point, trials[point.key]) for point in self.points]
        return [s for s in found if s.attrs.get("kind") != "exhausted"]

    def waiting(self) -> int:
        """How many points wait to be claimed."""
        return len(self.in_state(TrialState.WAITING))

    def stale(self) -> int:
        """How many claims of others show no recent sign of life: they may be lost."""
        running = self.in_state(TrialState.RUNNING)
        return sum(silence(trial) >= 2 * HEARTBEAT_SECONDS for trial in running)

    def own_trials(self, pid: int | None = None) -> list[FrozenTrial]:
        """The trials that workers of this command, or its worker ``pid``, claimed."""
        own = [t for t in self.all_trials() if claim_of(t).get("command") == self.command]
        return [t for t in own if pid in (None, claim_of(t)["owner"]["pid"])]

    def all_trials(self) -> list[FrozenTrial]:
        return self.storage.get_all_trials(self.study_id, deepcopy=False)

    def in_state(self, state: TrialState) -> list[FrozenTrial]:
        """The trials of this sweep's points in ``state``, oldest first."""
        return [t for t in self.all_trials() if t.state == state and self.key(t) in self.by_key]

    def key(self, trial: FrozenTrial) -> str:
        """The key of a trial's point, also where a journal of commit 73bab81 names it."""
        name = str(trial.user_attrs.get("point", ""))
        return self.key_of_legacy.get(name, name)

    # Queueing

    def enqueue_missing(self, retry_failed: bool = False, exclude: Container[str] = ()) -> None:
        """Close lost claims and queue missing points, failed ones if asked, none in ``exclude``."""
        for trial in self.in_state(TrialState.RUNNING):
            if is_lost(trial):
                host = claim_of(trial).get("owner", {}).get("host", "an unknown machine")
                self.close_dead(trial, f"the sweep on {host} was killed", lost=True)
        wanted = ("missing", "failed") if retry_failed else ("missing",)
        waiting = {self.key(trial) for trial in self.in_state(TrialState.WAITING)}
        for status in self.statuses():
            if len(waiting) >= QUEUE_LENGTH and not retry_failed:
                break
            key = status.point.key
            if status.state in wanted and key not in waiting and key not in exclude:
                self._enqueue(key, status.args)
                waiting.add(key)

    def _enqueue(self, key: str, args: dict[str, Any]) -> None:
        attrs = {"point": key} | ({"args": args} if args and self.sweep.method == "bayes" else {})
        template = optuna.trial.create_trial(state=TrialState.WAITING, user_attrs=attrs)
        self.storage.create_new_trial(self.study_id, template)

    # Recording

    def write(self, trial_id: int, attrs: dict[str, Any]) -> bool:
        """Set attributes of a trial; False if it was closed meanwhile."""
        try:
            for key, content in attrs.items():
                self.storage.set_trial_user_attr(trial_id, key, content)
        except UpdateFinishedTrialError:
            return False
        return True

    def record(
        self, trial_id: int, state: TrialState, attrs: dict[str, Any], value: float | None = None
    ) -> bool:
        """Close a trial; False if it was closed before."""
        try:
            return self.write(trial_id, attrs) and self.storage.set_trial_state_values(
                trial_id, state, None if value is None else [value]
            )
        except UpdateFinishedTrialError:
            return False

    def close_dead(
        self, trial: FrozenTrial, reason: str, lost: bool, attrs: dict[str, Any] | None = None
    ) -> None:
        """Close the claim of a worker that ended without recording its run.

        A run that had finished all the same is recorded.
        """
        run = finished_run(trial, self.sweep.name)
        value = run.last.get(self.sweep.metric) if run else None
        if run and value is not None:
            found = {"folder": str(run.folder), "run_id": run.id}
            state = TrialState.PRUNED if run.state == "stopped" else TrialState.COMPLETE
            self.record(trial._trial_id, state, found, value)
        else:
            kind = {"reason": reason, "kind": "lost" if lost else "failed"}
            self.record(trial._trial_id, TrialState.FAIL, (attrs or {}) | kind)


def points_of(sweep: Sweep) -> list[Point]:
    """The points of any sweep; those of a bayes sweep are numbers whose settings come later."""
    if sweep.method == "grid":
        return sweep.grid()
    sweep.check_size(MAX_RUN_CAP)  # not when the file is read: W&B's server takes any run_cap
    if sweep.method == "random":
        return sweep.points(random_rows(sweep, extend_random(sweep, [])))
    return [Point({}, f"place-{number:04d}") for number in range(1, (sweep.run_cap or 0) + 1)]


def statuses_at(where: str, sweep: Sweep) -> list[PointStatus]:
    """Point statuses; makes no study. Raises ``InputError`` as ``Study`` does."""
    if "://" in where or Path(where).exists():
        names = _names(open_storage(where))
        if sweep.name in names or (names and "://" not in where):
            return Study(where, sweep).statuses()
    return [PointStatus(point, "missing") for point in points_of(sweep)]


def _names(storage: Any) -> list[str]:
    return [summary.study_name for summary in storage.get_all_studies()]


def _open_study(storage: Any, where: str, sweep: Sweep) -> int:
    names = _names(storage)
    if names and sweep.name not in names and "://" not in where:
        raise InputError(
            f"--study {where}: belongs to the sweep {names[0]}, not to {sweep.name}; give another"
        )
    if sweep.name not in names:
        optuna.create_study(
            storage=storage, study_name=sweep.name, direction=sweep.goal, load_if_exists=True
        )
    study_id = storage.get_study_id_from_name(sweep.name)
    about = {"task": sweep.command, "metric": sweep.metric, "goal": sweep.goal}
    if sweep.method == "bayes":
        about["parameters"] = json.dumps(sweep.config["parameters"], sort_keys=True)
    known = storage.get_study_user_attrs(study_id)
    for key, value in about.items():
        if key not in known:
            storage.set_study_user_attr(study_id, key, value)
        elif known[key] != value:
            raise InputError(
                f"--study {where}: belongs to another sweep {sweep.name} (its {key} differs); "
                "give another, or change the name in the file"
            )
    return study_id


def status_of(point: Point, trials: list[FrozenTrial]) -> PointStatus:
    """The state of a point by its trials, oldest first."""
    for trial in trials:
        if trial.state in DONE and trial.user_attrs.get("kind") != "failed":
            state = "done" if trial.state == TrialState.COMPLETE else "stopped"
            return PointStatus(point, state, trial.user_attrs, trial.value)
    for trial in trials:
        if trial.state == TrialState.RUNNING and not is_lost(trial):
            return PointStatus(point, "running", trial.user_attrs)
    waits = any(trial.state == TrialState.WAITING for trial in trials)
    last = trials[-1].user_attrs if trials else {}
    failed = not waits and last.get("kind") in ("failed", "exhausted")
    return PointStatus(point, "failed" if failed else "missing", last)
