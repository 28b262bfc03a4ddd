"""Random and bayes settings and Hyperband, each a function of the sweep's seed and its results."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from common.errors import InputError
from sweeps.parameters import Parameter
from sweeps.space import MAX_POINTS, Point, Sweep

NATIVE = ("int_uniform", "uniform", "log_uniform", "log_uniform_values")
MOST_BANDS = 100
TRIES = 200  # random settings drawn in search of one that was not drawn before


def extend_random(sweep: Sweep, drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``drawn`` and further settings up to ``run_cap``, each once; the same for the same file."""
    rng, ranges, cap = random.Random(sweep.space_hash), sweep.ranges, sweep.run_cap or 0
    known = [{name: value for name, value in row.items() if name in ranges} for row in drawn]
    rows = {json.dumps(row, sort_keys=True): row for row in known}
    missed, most = 0, TRIES + len(drawn)  # the settings of ``drawn`` are drawn again first
    while len(rows) < cap and missed < most:
        row = {name: parameter.at(rng.random()) for name, parameter in ranges.items()}
        missed = missed + 1 if json.dumps(row, sort_keys=True) in rows else 0
        rows.setdefault(json.dumps(row, sort_keys=True), row)
    if len(rows) < cap:
        for row in _every_setting(ranges):
            rows.setdefault(json.dumps(row, sort_keys=True), row)
    return list(rows.values())[:cap]


def _every_setting(ranges: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
    """All settings of a small finite space, which random draws alone would not all find."""
    if math.prod(parameter.count for parameter in ranges.values()) <= MAX_POINTS:
        for values in itertools.product(*(parameter.listed() for parameter in ranges.values())):
            yield dict(zip(ranges, values, strict=True))


def random_rows(sweep: Sweep, drawn: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The arguments of every run: the settings ``drawn``, with the constants and the seeds."""
    constants = sweep.constants
    seeds = [{"seed": seed} for seed in range(sweep.seeds or 0)] or [{}]
    rows = [constants | setting | seed for setting in drawn for seed in seeds]
    return [dict(sorted(row.items())) for row in rows]


@dataclass(frozen=True)
class Draw:
    """Settings drawn for a bayes point; ``params`` are Optuna's values of them, by name."""

    args: dict[str, Any]
    params: dict[str, Any]

    @classmethod
    def of_params(cls, sweep: Sweep, params: dict[str, Any]) -> Draw:
        args = dict(sweep.constants)
        for name, value in params.items():
            parameter = sweep.parameters[name]
            args[name] = value if _is_native(parameter) else parameter.at(min(value, 1 - 1e-12))
        return cls(dict(sorted(args.items())), params)

    @classmethod
    def of_args(cls, sweep: Sweep, args: dict[str, Any]) -> Draw:
        """Settings that were drawn before."""
        native = [n for n, p in sweep.ranges.items() if n in args and _is_native(p)]
        return cls(args, {name: args[name] for name in native})

    def record(self, sweep: Sweep, storage: Any, trial_id: int) -> None:
        """Store the parameters with the trial, for the sampler and for optuna-dashboard."""
        for name, value in self.params.items():
            distribution = _distribution(sweep.parameters[name])
            inner = distribution.to_internal_repr(value)
            storage.set_trial_param(trial_id, name, inner, distribution)


def draw_bayes(
    sweep: Sweep, storage: Any, trial_id: int, attempt: int, used: set[str]
) -> Draw | None:
    """The next setting by Optuna's TPE with the constant-liar heuristic for parallel trials.

    A random one where its key is in ``used``; None where none is left.
    """
    trial = storage.get_trial(trial_id)
    rng = random.Random(f"{sweep.space_hash} {trial.user_attrs['point']} {attempt}")
    for number in range(TRIES):
        if attempt or number:
            found = {}
            for name, parameter in sweep.ranges.items():
                quantile = rng.random()
                found[name] = parameter.at(quantile) if _is_native(parameter) else quantile
        else:
            found = _sample(sweep, storage, trial, rng.randrange(2**32))
        draw = Draw.of_params(sweep, found)
        if sweep.point(draw.args).key not in used:
            return draw
    for args in _every_setting(sweep.ranges):
        draw = Draw.of_args(sweep, dict(sorted((sweep.constants | args).items())))
        if sweep.point(draw.args).key not in used:
            return draw
    return None


def _sample(sweep: Sweep, storage: Any, trial: Any, seed: int) -> dict[str, Any]:
    """One draw of Optuna's TPE; the first ten are random."""
    space = {name: _distribution(parameter) for name, parameter in sweep.ranges.items()}
    sampler = optuna.samplers.TPESampler(constant_liar=True, seed=seed)
    # Loaded afresh: a study keeps the trials that its sampler saw first.
    study = optuna.load_study(study_name=sweep.name, storage=storage, sampler=sampler)
    known = sampler.infer_relative_search_space(study, trial)
    known = {name: space[name] for name in known if known[name] == space.get(name)}
    found = sampler.sample_relative(study, trial, known)
    for name, distribution in space.items():
        if name not in found:
            found[name] = sampler.sample_independent(study, trial, name, distribution)
    return found


def _is_native(parameter: Parameter) -> bool:
    """Whether Optuna has this distribution; the others it samples by their quantile."""
    if parameter.distribution == "categorical":
        return not parameter.weights and not any(isinstance(v, list) for v in parameter.values)
    return parameter.distribution in NATIVE


def _distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    kind, low, high = parameter.distribution, parameter.low, parameter.high
    if not _is_native(parameter):
        return optuna.distributions.FloatDistribution(0, 1)
    if kind == "categorical":
        return optuna.distributions.CategoricalDistribution(parameter.listed())
    if kind == "int_uniform":
        return optuna.distributions.IntDistribution(int(low), int(high))
    if kind == "log_uniform":
        low, high = math.exp(low), math.exp(high)
    return optuna.distributions.FloatDistribution(low, high, log=kind != "uniform")


@dataclass(frozen=True)
class Hyperband:
    """W&B's Hyperband: at each band, settings outside the best 1/eta so far are stopped.

    Bands are validations: ``min_iter * eta**n``, or ``max_iter / eta**n`` for n from 1 to ``s``. A
    setting counts as the mean of its seeds, those that were stopped included.
    """

    bands: tuple[int, ...]
    eta: int

    @classmethod
    def of(cls, sweep: Sweep) -> Hyperband | None:
        """The rule of the file, if any. Raises ``InputError`` for ``strict``."""
        rule = sweep.config.get("early_terminate")
        if rule is None:
            return None
        if rule.get("strict"):
            raise InputError(
                f"{sweep.file}: early_terminate: strict is not known to the offline engine; "
                "leave it out"
            )
        eta = rule.get("eta", 3)
        if {"max_iter", "s"} <= set(rule):
            bands = [rule["max_iter"] // eta**n for n in range(1, rule["s"] + 1)]
        else:
            bands = [rule["min_iter"] * eta**n for n in range(MOST_BANDS)]
        return cls(tuple(bands), eta)

    def is_worse(
        self, key: str, values: Mapping[str, float], points: Iterable[Point], goal: str
    ) -> bool:
        """Whether the setting of point ``key`` is outside the best by the points' ``values``."""
        settings = {
            p.key: json.dumps({**p.args, "seed": None} if p.args else p.key) for p in points
        }
        by_setting: dict[str, list[float]] = defaultdict(list)
        for point, value in values.items():
            if point in settings:
                by_setting[settings[point]].append(value if goal == "minimize" else -value)
        means = {setting: sum(vs) / len(vs) for setting, vs in by_setting.items()}
        kept = max(1, len(means) // self.eta)
        return means[settings[key]] > sorted(means.values())[kept - 1]
