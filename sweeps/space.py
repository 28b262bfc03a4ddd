"""A sweep file: W&B's YAML, read, checked and expanded to points.

The grid is expanded exactly as W&B's server does it: parameter names sorted, the last one varies
fastest, values given twice dropped. Nothing here needs torch, wandb or optuna.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import InputError, nearest
from common.options import NONE_SPELLINGS
from data.registry import folder_val_images
from experiment.identity import identity, legacy_identity
from experiment.settings import Settings
from models.registry import NETS
from sweeps.yaml_file import read_yaml
from tasks.metrics import goal_of, optimizable
from tracking.folder import RunFolder

TOP_KEYS = (
    "program", "method", "metric", "parameters", "name", "description", "project", "entity",
    "command", "early_terminate", "run_cap",
)  # fmt: skip
METHODS = ("grid", "random", "bayes")
DISTRIBUTIONS = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "log_uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
}
OF_THE_SWEEP = ("mode", "runs_dir", "resume")
EARLY_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
MAX_POINTS = 10_000
WHOLE_VALIDATION_FROM = 6000  # images: shorter rehearsals shorten validation too


@dataclass(frozen=True)
class Parameter:
    """One parameter: ``values`` to choose from, or numbers from ``low`` to ``high``.

    ``distribution`` is one of ``DISTRIBUTIONS``. ``log_uniform`` bounds are natural exponents,
    as W&B has it.
    """

    distribution: str
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None

    @property
    def endless(self) -> bool:
        return self.distribution not in ("constant", "categorical", "int_uniform")

    def listed(self) -> tuple[Any, ...]:
        """Every value, in order, without repeats (``True`` and ``1`` are two values)."""
        if self.distribution == "int_uniform":
            return tuple(range(int(self.low), int(self.high) + 1))
        return tuple({json.dumps(value): value for value in self.values}.values())


@dataclass(frozen=True)
class Point:
    """One run of a sweep: its arguments and ``key``, the hash of everything that matters in it."""

    args: dict[str, Any]
    key: str
    legacy_key: str | None = None  # the same by the rule of commit 73bab81

    def command(self, task: str) -> list[str]:
        """The arguments after ``train.py``, exactly as W&B's agent passes them."""
        return [task, *(f"--{name}={value}" for name, value in self.args.items())]


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file. ``config`` is what goes to W&B's server."""

    file: Path
    name: str
    header: str
    task: str
    method: str
    metric: str
    goal: str
    config: dict[str, Any] = field(repr=False)
    parameters: dict[str, Parameter] = field(repr=False)

    @property
    def question(self) -> str:
        """The first paragraph of the header without its label."""
        return self.header.split("\n\n")[0].removeprefix("Question:").replace("\n", " ").strip()

    @property
    def file_name(self) -> str:
        """``name`` as the name of a file, with a hash where it cannot be one as it stands."""
        safe = RunFolder.safe_name(self.name)
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        return safe if safe == self.name else f"{safe}-{digest}"  # else "a b" would meet "a-b"

    @property
    def run_cap(self) -> int | None:
        return self.config.get("run_cap")

    @property
    def early_terminate(self) -> dict[str, Any] | None:
        return self.config.get("early_terminate")

    def settings(self, args: dict[str, Any]) -> Settings:
        """The settings of a run with ``args``; raises ``InputError``."""
        try:
            return Settings.parse(self.task, args)
        except InputError as error:
            raise InputError(f"{self.file}: {error}") from None

    def point(self, args: dict[str, Any]) -> Point:
        """The point with ``args``; raises ``InputError`` where they do not fit the command."""
        settings = self.settings(args)
        return Point(args, identity(settings), legacy_identity(settings))

    def grid(self) -> list[Point]:
        """Every point of a grid sweep, in W&B's order. Raises ``InputError`` for a wrong one."""
        names = sorted(self.parameters)
        lists = [self.parameters[name].listed() for name in names]
        rows = itertools.product(*lists)
        points = [self.point(dict(zip(names, row, strict=True))) for row in rows]
        points = list({point.key: point for point in reversed(points)}.values())[::-1]
        return points[: self.run_cap]

    def with_seeds(self, count: int) -> Sweep:
        """The same sweep with every point under seeds 0 to ``count`` - 1."""
        if "seed" in self.parameters and len(self.parameters["seed"].values) != 1:
            raise InputError(f"{self.file}: it varies the seed itself, so --seeds cannot")
        if self.method == "bayes":
            raise InputError(f"{self.file}: --seeds is for grid and random sweeps, not for bayes")
        changed = self.with_parameter("seed", Parameter("categorical", tuple(range(count))))
        if self.run_cap is None or self.method == "random":
            return changed
        return replace(changed, config=changed.config | {"run_cap": self.run_cap * count})

    def shortened(self, images: int) -> Sweep:
        """A rehearsal: every run trains on ``images`` images in all.

        Below ``WHOLE_VALIDATION_FROM`` images, validation uses the first ``images // 6`` images,
        the proportion of Fashion-MNIST's 60,000 to 10,000, and never more than the file asks for
        or a folder of images holds.
        """
        changed = self.with_parameter("images", Parameter("constant", (images,)))
        if images < WHOLE_VALIDATION_FROM:
            own = self.parameters["val_images"].listed() if "val_images" in self.parameters else ()
            data = self.parameters["data"].listed() if "data" in self.parameters else ()
            limits = [*own, *(folder_val_images(str(name)) for name in data)]
            few = min([images // 6, *(int(n) for n in limits if n not in NONE_SPELLINGS)])
            changed = changed.with_parameter("val_images", Parameter("constant", (max(1, few),)))
        return replace(changed, name=f"{self.name}-images-{images}")

    def with_parameter(self, name: str, parameter: Parameter) -> Sweep:
        """The same sweep with one parameter set, also in what W&B's server is told."""
        key = "value" if parameter.distribution == "constant" else "values"
        told = parameter.values[0] if key == "value" else list(parameter.values)
        config = self.config | {"parameters": self.config["parameters"] | {name: {key: told}}}
        return replace(self, config=config, parameters=self.parameters | {name: parameter})


def read_sweep(file: Path) -> Sweep:
    """Read and check a sweep file.

    Raises ``InputError`` for bad YAML (with line and column), unknown keys, parameters the
    command does not have, values it does not take, a grid that never ends and a metric that is
    never logged.
    """
    config, header = read_yaml(file)
    return checked(file, config, header)


def checked(file: Path, config: dict[str, Any], header: str = "") -> Sweep:
    """A sweep from its definition (of ``file``, or of W&B's server); errors of ``read_sweep``."""
    _check_keys(file, config, TOP_KEYS, "a key of a sweep file")
    for key in ("method", "metric", "parameters", "command"):
        if key not in config:
            raise InputError(f"{file}: {key} is missing; see sweep_configs/smoke.yaml")
    method = _one_of(file, "method", config["method"], METHODS)
    task = _task(file, config["command"])
    metric, goal = _metric(file, config["metric"], task)
    given = config["parameters"]
    if not isinstance(given, dict) or not given:
        raise InputError(f"{file}: parameters must map option names to values: or min: and max:")
    for key in map(str, given):
        if key.replace("-", "_") in OF_THE_SWEEP:
            raise InputError(
                f"{file}: parameters: the sweep itself decides {key}; leave it out (train.py sweep "
                "has --mode and --runs-dir)"
            )
    name = str(config.get("name") or file.stem)
    sweep = Sweep(
        file=file, name=name, header=header, task=task, method=method, metric=metric, goal=goal,
        config=config | {"name": name},
        parameters={str(key): _parameter(file, str(key), spec) for key, spec in given.items()},
    )  # fmt: skip
    _check_cap(sweep)
    _check_early_terminate(sweep)
    _check_parameters(sweep)
    return sweep


def _check_keys(file: Path, given: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in given:
        if key not in known:
            raise InputError(
                f"{file}: {key!r} is not {what}, allowed are {', '.join(known)}."
                f"{nearest(key, known)}"
            )


def _one_of(file: Path, name: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InputError(
            f"{file}: {name} {value}: must be one of {', '.join(known)}.{nearest(value, known)}"
        )
    return value


def _task(file: Path, command: Any) -> str:
    """The command that runs: the item between ``${program}`` and ``${args}``."""
    items = [str(item) for item in command] if isinstance(command, list) else []
    kept = [item for item in items if item not in ("${env}", "${interpreter}")]
    if len(kept) != 3 or kept[0] != "${program}" or kept[2] != "${args}":
        raise InputError(
            f"{file}: command must be [${{env}}, ${{interpreter}}, ${{program}}, COMMAND, "
            f"${{args}}] with COMMAND one of {', '.join(NETS)}"
        )
    return _one_of(file, "command", kept[1], tuple(NETS))


def _metric(file: Path, metric: Any, task: str) -> tuple[str, str]:
    if not isinstance(metric, dict) or set(metric) != {"name", "goal"}:
        raise InputError(f"{file}: metric must have name and goal, for example name: val/l1")
    known = optimizable(NETS[task].task)
    if metric["name"] not in known:
        raise InputError(
            f"{file}: metric {metric['name']} is never logged by {task}, which logs "
            f"{', '.join(known)}.{nearest(metric['name'], known)}"
        )
    goal = _one_of(file, "goal", metric["goal"], ("minimize", "maximize"))
    if goal != goal_of(metric["name"]):
        raise InputError(f"{file}: goal {goal}: {metric['name']} is to {goal_of(metric['name'])}")
    return metric["name"], goal


def _parameter(file: Path, name: str, spec: Any) -> Parameter:
    where = f"{file}: parameter {name}"
    if not isinstance(spec, dict):
        raise InputError(f"{where}: write value: X, values: [X, Y] or min: and max:")
    _check_keys(file, spec, ("distribution", "value", "values", "min", "max", "q"),
                f"a key of parameter {name}")  # fmt: skip
    kind = spec.get("distribution") or _default_distribution(spec)
    kind = _one_of(file, f"parameter {name}: distribution", kind, tuple(DISTRIBUTIONS))
    needs = DISTRIBUTIONS[kind]
    if set(spec) - {"distribution"} != set(needs):
        raise InputError(f"{where}: {kind} takes exactly {', '.join(needs)}")
    if kind in ("constant", "categorical"):
        values = spec["values"] if kind == "categorical" else [spec["value"]]
        if not isinstance(values, list) or not values or not all(map(_is_scalar, values)):
            raise InputError(
                f"{where}: must be plain values, one or more, for example values: [3, '3:9']"
            )
        return Parameter(kind, tuple(values))
    numbers = [spec[key] for key in needs]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise InputError(f"{where}: {', '.join(needs)} must be numbers (write 0.001, not 1e-3)")
    low, high, step = (*numbers, None)[:3]
    whole = kind != "int_uniform" or (float(low).is_integer() and float(high).is_integer())
    if not low < high or not whole or (step is not None and step <= 0):
        raise InputError(f"{where}: {kind} needs min below max" + ("" if whole else ", both whole"))
    if kind == "log_uniform_values" and low <= 0:
        raise InputError(f"{where}: log_uniform_values needs min above 0")
    return Parameter(kind, low=low, high=high, step=step)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _default_distribution(spec: dict[str, Any]) -> str:
    """What W&B assumes where no distribution is named."""
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical"
    whole = all(isinstance(spec.get(key), int) for key in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _check_cap(sweep: Sweep) -> None:
    cap = sweep.run_cap
    if cap is not None and (not isinstance(cap, int) or isinstance(cap, bool) or cap < 1):
        raise InputError(f"{sweep.file}: run_cap {cap}: must be a whole number from 1 up")
    if sweep.method != "grid":
        if cap is None:
            raise InputError(
                f"{sweep.file}: a {sweep.method} sweep without an end; add run_cap, for example "
                "run_cap: 30"
            )
        return
    for name, parameter in sweep.parameters.items():
        if parameter.endless:
            raise InputError(
                f"{sweep.file}: parameter {name}: a grid over a continuous range never ends; list "
                "values: or use method: random with run_cap"
            )
    count = math.prod(
        int(p.high - p.low) + 1 if p.distribution == "int_uniform" else len(p.values)
        for p in sweep.parameters.values()
    )
    if count > MAX_POINTS:
        raise InputError(f"{sweep.file}: {count:,} points; at most {MAX_POINTS:,} in a grid")


def _check_early_terminate(sweep: Sweep) -> None:
    rule, file = sweep.early_terminate, sweep.file
    if rule is None:
        return
    if not isinstance(rule, dict) or rule.get("type") != "hyperband":
        raise InputError(f"{file}: early_terminate must be type: hyperband with min_iter")
    _check_keys(file, rule, EARLY_KEYS, "a key of early_terminate")
    counts = [rule[key] for key in ("min_iter", "max_iter", "s") if key in rule]
    counts += [rule.get("eta", 3) - 1] if isinstance(rule.get("eta", 3), int) else [None]
    if not all(isinstance(n, int) and n >= 1 for n in counts):
        raise InputError(
            f"{file}: early_terminate: min_iter, max_iter and s are whole numbers from 1 up, eta "
            "from 2 up"
        )
    if "min_iter" not in rule and not {"max_iter", "s"} <= set(rule):
        raise InputError(f"{file}: early_terminate needs min_iter, or max_iter and s")


def _check_parameters(sweep: Sweep) -> None:
    """Every value must be accepted by the command: names, then each point or each end."""
    if sweep.method == "grid":
        sweep.grid()
        return
    first = {name: _examples(p)[0] for name, p in sweep.parameters.items()}
    for name, parameter in sweep.parameters.items():
        for value in _examples(parameter):
            sweep.settings(first | {name: value})


def _examples(parameter: Parameter) -> tuple[Any, ...]:
    if not parameter.endless:
        listed = parameter.listed()
        return listed if parameter.values else (listed[0], listed[-1])
    ends = (parameter.low, parameter.high)
    return tuple(map(math.exp, ends)) if parameter.distribution == "log_uniform" else ends
