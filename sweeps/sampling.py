"""W&B's random and bayes methods and Hyperband, by Optuna's samplers and pruners."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import optuna

from common.errors import InputError
from sweeps.space import Parameter, Point, Sweep


def random_points(sweep: Sweep) -> list[Point]:
    """``run_cap`` different points (times the seeds), the same ones for the same file."""
    varied = {k: v for k, v in sweep.parameters.items() if k != "seed" or len(v.values) < 2}
    drawn_from = sorted((n, p) for n, p in varied.items() if p.distribution != "constant")
    seed = int(hashlib.sha256(repr(drawn_from).encode()).hexdigest()[:8], 16)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn: dict[str, dict[str, Any]] = {}
    for _ in range(20 * sweep.run_cap):  # a small space may hold fewer points than run_cap
        args = suggest(study.ask(), varied)
        drawn.setdefault(json.dumps(args), args)
        if len(drawn) == sweep.run_cap:
            break
    seeds = sweep.parameters["seed"].values if len(varied) < len(sweep.parameters) else ()
    rows = [args | {"seed": s} for args in drawn.values() for s in seeds] or list(drawn.values())
    points = [sweep.point(args) for args in rows]
    return list({point.key: point for point in points}.values())


def suggest(trial: optuna.Trial, parameters: dict[str, Parameter]) -> dict[str, Any]:
    """A value for every parameter, in the order of their names."""
    return {name: _value(trial, name, parameters[name]) for name in sorted(parameters)}


def _value(trial: optuna.Trial, name: str, parameter: Parameter) -> Any:
    kind, low, high = parameter.distribution, parameter.low, parameter.high
    if kind == "constant" or len(parameter.listed() if not parameter.endless else "..") == 1:
        return parameter.listed()[0]
    if kind == "categorical":
        return trial.suggest_categorical(name, parameter.listed())
    if kind == "int_uniform":
        return trial.suggest_int(name, int(low), int(high))
    if kind == "log_uniform":
        return trial.suggest_float(name, math.exp(low), math.exp(high), log=True)
    if kind == "log_uniform_values":
        return trial.suggest_float(name, low, high, log=True)
    return trial.suggest_float(name, low, high, step=parameter.step)


def sampler(sweep: Sweep) -> optuna.samplers.BaseSampler:
    """Bayes is Optuna's TPE, told to keep points that run at the same time apart."""
    if sweep.method == "bayes":
        return optuna.samplers.TPESampler(constant_liar=True)
    return optuna.samplers.RandomSampler()


def pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    """W&B's Hyperband: at each band, runs outside the best 1/eta so far are stopped.

    Bands are validations: ``min_iter * eta**n``, or counted down from ``max_iter`` by ``s``.
    Raises ``InputError`` for ``strict``, which Optuna does not have.
    """
    rule = sweep.early_terminate
    if rule is None:
        return optuna.pruners.NopPruner()
    if rule.get("strict"):
        raise InputError(f"{sweep.file}: early_terminate: strict is not known to the offline "
                         "engine; leave it out")  # fmt: skip
    eta = rule.get("eta", 3)
    first = rule.get("min_iter") or max(1, rule["max_iter"] // eta ** rule["s"])
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=eta)
