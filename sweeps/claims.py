"""A worker's claims on the points of a study: take the next one, record how its run ended."""

import random
import time
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from sweeps.owner import CLAIMANT_PREFIX, PRUNED, claim_of, this_process
from sweeps.sampling import Draw, Hyperband, draw_bayes
from sweeps.space import Point, Sweep
from sweeps.study import Study


@dataclass(frozen=True)
class Claim:
    """A point that this process owns until it records how the run ended."""

    point: Point
    trial_id: int
    settings_key: str  # the point's key, also where ``point.key`` only numbers a bayes draw


class Claims:
    """The claims of this process on the points of ``study``."""

    def __init__(self, study: Study) -> None:
        self.study, self.sweep, self.storage = study, study.sweep, study.storage
        self.id = uuid.uuid4().hex
        self.hyperband = Hyperband.of(study.sweep)
        self._candidates: deque[tuple[FrozenTrial, list[int]]] = deque()

    def next(self) -> Claim | None:
        """The next waiting point, now this process's; None when none waits.

        The waiting trials are listed once and then taken one after another, so that a sweep of
        n points does not list n trials n times.
        """
        while self._candidates or self._list_candidates():
            waiting, earlier = self._candidates.popleft()
            trial_id = waiting._trial_id
            if self._state(trial_id) != TrialState.WAITING or not self._set_running(trial_id):
                continue
            if any(self._state(other) != TrialState.FAIL for other in earlier):
                self.study.record(trial_id, TrialState.FAIL, {"kind": "duplicate"})
            elif claim := self._record_owner(waiting):
                return claim
        return None

    def _list_candidates(self) -> bool:
        """List the waiting trials, each with the earlier trials of its point.

        Commands that start together may queue a point twice: the earlier trial counts.
        """
        seen: dict[str, list[int]] = defaultdict(list)
        for trial in sorted(self.study.all_trials(), key=lambda trial: trial.number):
            key = self.study.key(trial)
            if trial.state == TrialState.WAITING and key in self.study.by_key:
                self._candidates.append((trial, list(seen[key])))
            if trial.state != TrialState.FAIL and trial.user_attrs.get("kind") != "failed":
                seen[key].append(trial._trial_id)
        return bool(self._candidates)

    def _state(self, trial_id: int) -> TrialState:
        return self.storage.get_trial(trial_id).state

    def _set_running(self, trial_id: int) -> bool:
        """Set a waiting trial to running; False if another process was first.

        Who wants it is written first: a process killed in between is known to have ended.
        """
        claimant = {f"{CLAIMANT_PREFIX}{self.id}": this_process()}
        return self.study.write(trial_id, claimant) and self.study.record(
            trial_id, TrialState.RUNNING, {}
        )

    def _record_owner(self, waiting: FrozenTrial) -> Claim | None:
        """Write who owns the trial; None if the claim was taken away or nothing is left to draw."""
        point, trial_id = self.study.by_key[self.study.key(waiting)], waiting._trial_id
        if self.sweep.method == "bayes":
            return self._claim_draw(waiting, point.key)
        written = self._write_claim(trial_id, point.args, point.key)
        return Claim(point, trial_id, point.key) if written else None

    def _claim_draw(self, waiting: FrozenTrial, key: str) -> Claim | None:
        """Draw the settings of a bayes point, unlike those of every other, and claim it."""
        trial_id, draw = waiting._trial_id, _kept_draw(waiting, self.sweep)
        for attempt in range(100):
            used = self._used_keys(key)
            draw = draw or draw_bayes(self.sweep, self.storage, trial_id, attempt, used)
            if draw is None:
                reason = "every setting of this space has been tried"
                attrs = {"kind": "exhausted", "reason": reason}
                self.study.record(trial_id, TrialState.FAIL, attrs)
                return None
            setting = self.sweep.point(draw.args)
            if not self._write_claim(trial_id, draw.args, setting.key):
                return None
            if setting.key not in self._used_keys(key):
                try:
                    draw.record(self.sweep, self.storage, trial_id)
                except UpdateFinishedTrialError:
                    return None  # the claim was taken away
                return Claim(Point(draw.args, key), trial_id, setting.key)
            # Two workers drew the same setting at the same time: both give it back and draw again.
            draw = None
            self._write_claim(trial_id, {}, "")
            time.sleep(random.uniform(0, 0.1))
        return None

    def _used_keys(self, key: str) -> set[str]:
        """Keys of the settings drawn for other points."""
        claims = (claim_of(t) for t in self.study.all_trials() if self.study.key(t) != key)
        return {claim["key"] for claim in claims if "key" in claim}

    def _write_claim(self, trial_id: int, args: dict[str, Any], key: str) -> bool:
        claim = {"time": time.time(), "owner": this_process(), "args": args, "key": key}
        claim |= {"runs_dir": self.study.runs_dir, "command": self.study.command}
        return self.study.write(trial_id, {"claim": claim})

    def heartbeat(self, trial_id: int) -> bool:
        """Renew a claim; False if it was taken away."""
        return self.study.write(trial_id, {"beat": time.time()})

    def report(self, claim: Claim, value: float, epoch: int) -> str | None:
        """Record the validation after so many epochs; why the run should end early, if it should.

        Epochs count on where a killed run is resumed, so that runs are compared at equal ones.
        """
        trial = self.storage.get_trial(claim.trial_id)
        if epoch in trial.intermediate_values:  # the last validation follows an epoch's end
            return None
        try:
            self.storage.set_trial_intermediate_value(claim.trial_id, epoch, value)
        except UpdateFinishedTrialError:
            return "its point was taken over"
        if self.hyperband is None or epoch not in self.hyperband.bands:
            return None
        values = {
            self.study.key(trial): trial.intermediate_values[epoch]
            for trial in self.study.all_trials()
            if epoch in trial.intermediate_values
        }
        points, goal = self.study.points, self.sweep.goal
        return PRUNED if self.hyperband.is_worse(claim.point.key, values, points, goal) else None

    def done(self, claim: Claim, value: float, attrs: dict[str, Any], early: bool = False) -> bool:
        """Record a finished run; False if the claim had been taken away meanwhile."""
        state = TrialState.PRUNED if early else TrialState.COMPLETE
        return self.study.record(claim.trial_id, state, attrs, value)

    def failed(self, claim: Claim, reason: str, attrs: dict[str, Any], lost: bool = False) -> None:
        """Record a run that ended badly. A lost one (killed, stopped) waits to be run again."""
        attrs = attrs | {"reason": reason, "kind": "lost" if lost else "failed"}
        self.study.record(claim.trial_id, TrialState.FAIL, attrs)

    def infeasible(self, claim: Claim, reason: str) -> None:
        """Record settings that cannot be trained; the sampler avoids their neighbourhood."""
        state = TrialState.FAIL
        if self.sweep.method == "bayes":
            study = optuna.load_study(study_name=self.sweep.name, storage=self.storage)
            optuna.Trial(study, claim.trial_id).set_constraint("feasible", 1.0)
            state = TrialState.PRUNED
        self.study.record(claim.trial_id, state, {"reason": reason, "kind": "failed"})


def _kept_draw(trial: FrozenTrial, sweep: Sweep) -> Draw | None:
    """The settings drawn for a bayes point before; commit 73bab81 queued them as parameters."""
    if "args" in trial.user_attrs:
        return Draw.of_args(sweep, trial.user_attrs["args"])
    fixed = trial.system_attrs.get("fixed_params")
    return Draw.of_args(sweep, sweep.constants | fixed) if fixed else None
