"""The study behind an offline sweep: each point done exactly once, whoever is killed.

Every point is a trial of an Optuna study, named by the hash of its settings. The storage hands a
waiting trial to exactly one process. A claim carries its owner (host, process id, start time) and a
time stamp renewed every ``BEAT_SECONDS``. It counts as lost when its owner, on this machine, has
ended, or when the stamp is older than ``LEASE_SECONDS``: that needs no lock held as long as a run,
only clocks that agree to a minute or two. A lost claim whose run had finished is completed from its
run folder; any other becomes a failed trial and its point waits anew, to go on from its last
checkpoint. An owner that comes back too late finds its trial closed: its result is not counted.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from common.errors import InputError
from sweeps.owner import is_gone, this_process
from sweeps.sampling import pruner, random_points, sampler, suggest
from sweeps.space import Point, Sweep
from sweeps.storage import open_storage
from sweeps.yaml_file import read_yaml

BEAT_SECONDS = 20
LEASE_SECONDS = 300
TAKER = "taker "  # start of the attribute in which a process says that it wants a trial
CLOCK_SECONDS = 60  # by which the clocks of machines and file servers may differ
UNSIGNED_SECONDS = 60  # a claim is signed at once, unless its process was killed just then
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Standing:
    """Where one point stands: done, running, failed or missing, and its decisive trial."""

    point: Point
    state: str
    attrs: dict[str, Any] = field(default_factory=dict)  # folder, run_id, reason, kind, claim
    value: float | None = None


@dataclass
class Claim:
    """A point that this process owns until it tells how it went."""

    point: Point
    trial: optuna.Trial
    settings_key: str  # the point's key, also where that is only a place in a bayes sweep


class Study:
    """The points of ``sweep`` in the storage at ``where``: a journal's path or a database URL."""

    def __init__(self, where: str, sweep: Sweep, runs_dir: str = "runs") -> None:
        """Open the study, or make it. Raises ``InputError`` for SQLite and another's study."""
        self.sweep, self.where, self.id = sweep, where, uuid.uuid4().hex
        self.runs_dir = str(Path(runs_dir).resolve())
        self.points = points_of(sweep)
        self.keys = {point.legacy_key: point.key for point in self.points}
        self.keys |= {point.key: point.key for point in self.points}
        self.storage = open_storage(where)
        self.study = _open_study(self.storage, where, sweep)

    def standings(self) -> list[Standing]:
        """Where every point stands now, in the order of the sweep."""
        trials = self._trials()
        return [_standing(point, trials[point.key]) for point in self.points]

    def top_up(self, retry_failed: bool = False, leave: frozenset[str] = frozenset()) -> None:
        """Close lost claims; queue missing points, failed ones if asked, but none in ``leave``."""
        for trial in self._in_state(TrialState.RUNNING):
            if _is_lost(trial):
                self._close_lost(trial)
        trials = self._trials()
        for point in self.points:
            mine = trials[point.key]
            state = _standing(point, mine).state
            waits = any(trial.state == TrialState.WAITING for trial in mine)
            wanted = state == "missing" or (retry_failed and state == "failed")
            if wanted and not waits and point.key not in leave:
                params = mine[-1].params if mine else {}
                self.study.enqueue_trial(params, user_attrs={"point": point.key})

    def waiting(self) -> int:
        """How many points wait to be claimed."""
        return len(self._in_state(TrialState.WAITING))

    def claim(self) -> Claim | None:
        """The next waiting point, now this process's; None when none waits."""
        for waiting in self._in_state(TrialState.WAITING):
            if not self._take(waiting._trial_id):
                continue
            if self._is_spare(waiting):
                self._tell(waiting._trial_id, TrialState.FAIL, {"kind": "spare"})
                continue
            # A study opened afresh: samplers keep the trials they saw first in the old one.
            study = _open_study(self.storage, self.where, self.sweep)
            trial = optuna.Trial(study, waiting._trial_id)
            point = next(p for p in self.points if p.key == self._key(waiting))
            if self.sweep.method == "bayes":
                point = Point(suggest(trial, self.sweep.parameters), point.key)
            key = self.sweep.point(point.args).key
            claim = {"time": time.time(), "owner": this_process(), "args": point.args}
            trial.set_user_attr("claim", claim | {"runs_dir": self.runs_dir, "key": key})
            return Claim(point, trial, key)
        return None

    def beat(self, claim: Claim) -> None:
        """Renew a claim. One that was taken away is noticed when its result is told."""
        with contextlib.suppress(UpdateFinishedTrialError):
            claim.trial.set_user_attr("beat", time.time())

    def report(self, claim: Claim, value: float, epoch: int) -> bool:
        """The validation after so many epochs of a point; True when its run should end early.

        Epochs count on where a killed run is resumed, so that runs are compared at equal ones.
        """
        try:
            claim.trial.report(value, epoch)
            return claim.trial.should_prune()
        except UpdateFinishedTrialError:  # the claim was taken away
            return True

    def done(self, claim: Claim, value: float, attrs: dict[str, Any], early: bool = False) -> bool:
        """Record a finished run; False if the claim had been taken away meanwhile."""
        state = TrialState.PRUNED if early else TrialState.COMPLETE
        return self._tell(claim.trial._trial_id, state, attrs, value)

    def failed(self, claim: Claim, reason: str, attrs: dict[str, Any], lost: bool = False) -> bool:
        """Record a run that ended badly. A lost one (killed) is run again next time unasked,
        unless its run had finished before its worker was killed: then it is done.
        """
        if lost and self._complete(claim.trial):
            return True
        attrs = attrs | {"reason": reason, "kind": "lost" if lost else "failed"}
        return self._tell(claim.trial._trial_id, TrialState.FAIL, attrs)

    def doubtful(self) -> int:
        """Claims of others without a recent sign of life: lost, or soon known to be alive."""
        return sum(not _is_surely_alive(trial) for trial in self._in_state(TrialState.RUNNING))

    def _in_state(self, state: TrialState) -> list[FrozenTrial]:
        """The trials of this sweep's points in ``state``, oldest first."""
        trials = self.study.get_trials(deepcopy=False, states=(state,))
        return [trial for trial in trials if self._key(trial) in self.keys.values()]

    def _key(self, trial: FrozenTrial) -> str:
        """The key of a trial's point, also where a journal of commit 73bab81 names it."""
        name = trial.user_attrs.get("point", "")
        return self.keys.get(name, name)

    def _take(self, trial_id: int) -> bool:
        """Make a waiting trial run here; False if another process was first.

        Who wants it is written first: a process killed in between is known to have ended.
        """
        try:
            self.storage.set_trial_user_attr(trial_id, f"{TAKER}{self.id}", this_process())
            return self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def _trials(self) -> dict[str, list[FrozenTrial]]:
        found: dict[str, list[FrozenTrial]] = defaultdict(list)
        for trial in self.study.get_trials(deepcopy=False):
            if trial.user_attrs.get("kind") != "spare":
                found[self._key(trial)].append(trial)
        return found

    def _is_spare(self, trial: FrozenTrial) -> bool:
        """Two commands started together may queue a point twice: the earlier trial counts."""
        open_states = (TrialState.WAITING, TrialState.RUNNING)
        return any(
            other.state in DONE or (other.state in open_states and other.number < trial.number)
            for other in self._trials()[self._key(trial)]
            if other.number != trial.number
        )

    def _complete(self, trial: FrozenTrial | optuna.Trial) -> bool:
        """Record the finished run that a killed process could not tell of, if there is one."""
        run = _finished_run(trial, self.sweep.name)
        value = (run or {}).get("value", {}).get(self.sweep.metric)
        if not run or value is None:
            return False
        return self._tell(trial._trial_id, TrialState.COMPLETE, run["attrs"], value)

    def _close_lost(self, trial: FrozenTrial) -> None:
        if self._complete(trial):
            return
        host = _claim(trial).get("owner", {}).get("host", "an unknown machine")
        attrs = {"kind": "lost", "reason": f"the sweep on {host} was killed"}
        self._tell(trial._trial_id, TrialState.FAIL, attrs)

    def _tell(
        self, trial_id: int, state: TrialState, attrs: dict[str, Any], value: float | None = None
    ) -> bool:
        try:
            for key, content in attrs.items():
                self.storage.set_trial_user_attr(trial_id, key, content)
            self.storage.set_trial_state_values(trial_id, state, None if value is None else [value])
        except UpdateFinishedTrialError:
            return False
        return True


def points_of(sweep: Sweep) -> list[Point]:
    """The points of any sweep; those of a bayes sweep are places whose settings come later."""
    if sweep.method == "grid":
        return sweep.grid()
    if sweep.method == "random":
        return random_points(sweep)
    return [Point({}, f"place-{number:04d}") for number in range(1, sweep.run_cap + 1)]


def standings_at(where: str, sweep: Sweep) -> list[Standing]:
    """Where every point stands, for who only looks: what is not there is not made.

    Raises ``InputError`` as ``Study`` does.
    """
    never = [Standing(point, "missing") for point in points_of(sweep)]
    if "://" not in where and not Path(where).exists():
        return never
    names = _names(open_storage(where))
    if sweep.name not in names and ("://" in where or not names):
        return never
    return Study(where, sweep).standings()


def default_place(sweep: Sweep) -> str:
    """The journal of a sweep; a rehearsal (another name) has its own."""
    return str(Path("studies") / f"{sweep.file_name}.journal")


def _names(storage: Any) -> list[str]:
    return [summary.study_name for summary in storage.get_all_studies()]


def _open_study(storage: Any, where: str, sweep: Sweep) -> optuna.Study:
    names = _names(storage)
    if names and sweep.name not in names and "://" not in where:
        raise InputError(
            f"--study {where}: belongs to the sweep {names[0]}, not to {sweep.name}; give another"
        )
    how = {"storage": storage, "study_name": sweep.name, "sampler": sampler(sweep)}
    how["pruner"] = pruner(sweep)
    if sweep.name in names:
        study = optuna.load_study(**how)
    else:
        study = optuna.create_study(**how, direction=sweep.goal, load_if_exists=True)
    told = {"task": sweep.task, "metric": sweep.metric, "goal": sweep.goal, "file": str(sweep.file)}
    if sweep.method == "bayes":
        told["parameters"] = json.dumps(sweep.config["parameters"], sort_keys=True)
    known = study.user_attrs
    for key, value in told.items():
        if key not in known:
            study.set_user_attr(key, value)
        elif key != "file" and known[key] != value:
            raise InputError(
                f"--study {where}: belongs to another sweep {sweep.name} (its {key} differs); "
                "give another"
            )
    return study


def _standing(point: Point, trials: list[FrozenTrial]) -> Standing:
    for trial in trials:
        if trial.state in DONE:
            return Standing(point, "done", trial.user_attrs, trial.value)
    for trial in trials:
        if trial.state == TrialState.RUNNING and not _is_lost(trial):
            return Standing(point, "running", trial.user_attrs)
    waits = any(trial.state == TrialState.WAITING for trial in trials)
    if trials and not waits and trials[-1].user_attrs.get("kind") == "failed":
        return Standing(point, "failed", trials[-1].user_attrs)
    return Standing(point, "missing", trials[-1].user_attrs if trials else {})


def _age(trial: FrozenTrial) -> float:
    """Seconds since a claim was made or last renewed."""
    claimed = _claim(trial).get("time", trial.datetime_start.timestamp())
    return time.time() - trial.user_attrs.get("beat", claimed)


def _claim(trial: FrozenTrial | optuna.Trial) -> dict[str, Any]:
    """Who claimed a trial, when, and with what; empty in the moment before it is written."""
    return trial.user_attrs.get("claim", {})


def _is_gone(trial: FrozenTrial) -> bool | None:
    owner = _claim(trial).get("owner")
    if owner:
        return is_gone(owner)
    takers = [value for key, value in trial.user_attrs.items() if key.startswith(TAKER)]
    return True if takers and all(is_gone(taker) for taker in takers) else None


def _is_surely_alive(trial: FrozenTrial) -> bool:
    gone = _is_gone(trial)
    return bool(_claim(trial)) and _age(trial) < 2 * BEAT_SECONDS if gone is None else not gone


def _is_lost(trial: FrozenTrial) -> bool:
    gone = _is_gone(trial)
    if gone is None:
        return _age(trial) > (LEASE_SECONDS if _claim(trial) else UNSIGNED_SECONDS)
    return gone


def _finished_run(trial: FrozenTrial | optuna.Trial, name: str) -> dict[str, Any] | None:
    """The run of a lost claim, if it had finished before its sweep was killed.

    Older runs of the same point, of an earlier study, are not the claim's.
    """
    claim = _claim(trial)
    for file in Path(claim["runs_dir"]).glob("*/summary.json") if claim else ():
        with contextlib.suppress(OSError, ValueError):
            if file.stat().st_mtime < claim["time"] - CLOCK_SECONDS:
                continue
            summary = json.loads(file.read_text(encoding="utf-8"))
            config = read_yaml(file.parent / "config.yaml")[0]
            sweep = config.get("sweep") or {}
            mine = (sweep.get("name"), sweep.get("point")) == (name, claim["key"])
            if mine and summary.get("state") == "finished":
                attrs = {"folder": str(file.parent), "run_id": summary["run_id"]}
                return {"attrs": attrs, "value": summary["last"]}
    return None
