"""Parameters of a sweep: W&B's distributions, read from YAML and evaluated at a quantile."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from common.errors import InputError, nearest, one_of

RANGE = ("min", "max")
DISTRIBUTIONS = {
    "constant": ("value",), "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": RANGE, "uniform": RANGE, "q_uniform": (*RANGE, "q"),
    "log_uniform": RANGE, "q_log_uniform": (*RANGE, "q"),
    "log_uniform_values": RANGE, "q_log_uniform_values": (*RANGE, "q"),
    "inv_log_uniform": RANGE, "inv_log_uniform_values": RANGE,
    "normal": ("mu", "sigma"), "q_normal": ("mu", "sigma", "q"),
    "log_normal": ("mu", "sigma"), "q_log_normal": ("mu", "sigma", "q"),
}  # fmt: skip
DEFAULTS = {"q": 1, "mu": 0, "sigma": 1}
PARAMETER_KEYS = (
    "distribution", "value", "values", "probabilities", "min", "max", "q", "mu", "sigma",
    "parameters",
)  # fmt: skip
RESERVED_PARAMETERS = ("mode", "runs_dir", "resume")


@dataclass(frozen=True)
class Parameter:
    """One parameter: ``values`` to choose from, or numbers from a distribution of W&B's.

    ``low`` and ``high`` are ``min`` and ``max`` of the file (natural exponents for ``log_uniform``
    and ``inv_log_uniform``, as W&B has it), or ``mu`` and ``sigma`` of a normal distribution.
    ``step`` is the quantum ``q``.
    """

    distribution: str
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    weights: tuple[float, ...] = ()

    @property
    def is_continuous(self) -> bool:
        return self.distribution not in ("constant", "categorical", "int_uniform")

    @property
    def count(self) -> float:
        """The number of values; infinite for a continuous range."""
        if self.distribution == "int_uniform":
            return int(self.high) - int(self.low) + 1
        return math.inf if self.is_continuous else len(self.listed())

    def listed(self) -> Sequence[Any]:
        """Every value, in order, without repeats (``True`` and ``1`` are two values)."""
        if self.distribution == "int_uniform":
            return range(int(self.low), int(self.high) + 1)
        return tuple({json.dumps(value): value for value in self.values}.values())

    def holds(self, value: Any, read: Callable[[Any], Any]) -> bool:
        """Whether a run's option has a value of this parameter; ``read`` is the option's reader."""
        if self.values:
            return any(read(v) == value for v in self.listed())
        if "normal" in self.distribution:
            return True
        low, high = sorted(self.examples())
        return isinstance(value, int | float) and low * (1 - 1e-9) <= value <= high * (1 + 1e-9)

    def examples(self) -> Sequence[Any]:
        """The listed values, or the two ends of a range."""
        if self.values:
            return self.listed()
        tail = 0.0 if "normal" not in self.distribution else 0.01
        return (self.at(tail), self.at(1 - tail - 1e-12))

    def at(self, quantile: float) -> Any:
        """The value at ``quantile`` in [0, 1) of the distribution."""
        if self.values:
            return self._choose(quantile)
        kind = self.distribution.removeprefix("q_")
        if kind == "int_uniform":
            return int(self.low) + int(quantile * self.count)
        low, high = self.low, self.high
        if "normal" in kind:
            value = NormalDist(low, high).inv_cdf(min(max(quantile, 1e-12), 1 - 1e-12))
        else:
            if kind == "log_uniform_values":
                low, high = math.log(low), math.log(high)
            elif kind == "inv_log_uniform_values":
                low, high = math.log(1 / high), math.log(1 / low)
            value = low + quantile * (high - low)
        if kind.startswith("log_"):
            value = math.exp(value)
        elif kind.startswith("inv_log_"):
            value = math.exp(-value)
        return self.rounded(value)

    def rounded(self, value: float) -> float:
        """``value`` as a multiple of the quantum, within the bounds; whole for a whole quantum."""
        if self.step is None:
            return value
        number = round(value / self.step)
        if self.distribution in ("q_uniform", "q_log_uniform_values"):
            first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
            number = min(max(number, first), last)
        return number * self.step

    def _choose(self, quantile: float) -> Any:
        values = self.values if self.weights else self.listed()
        if not self.weights:
            return values[int(quantile * len(values))]
        sums = list(itertools.accumulate(self.weights))
        return next(v for v, total in zip(values, sums, strict=True) if quantile * sums[-1] < total)


def check_keys(file: Path, given: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in given:
        if key not in known:
            raise InputError(
                f"{file}: {key!r} is not {what}, allowed are {', '.join(known)}."
                f"{nearest(str(key), known)}"
            )


def require_one_of(file: Path, name: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InputError(f"{file}: {name} {value}: {one_of(value, known)}")
    return value


def flat_parameters(file: Path, given: Any) -> dict[str, Any]:
    """The specifications by option name, with underscores; nested groups are flattened."""
    if not isinstance(given, dict) or not given:
        raise InputError(f"{file}: parameters must map option names to values: or min: and max:")
    found: dict[str, Any] = {}
    for key, spec in given.items():
        name = str(key).replace("-", "_")
        nested = isinstance(spec, dict) and "parameters" in spec
        inner = flat_parameters(file, spec["parameters"]) if nested else {name: spec}
        for option, content in inner.items():
            if option in found:
                raise InputError(f"{file}: parameter {option} is given twice (as {key}); give one")
            if option in RESERVED_PARAMETERS:
                raise InputError(
                    f"{file}: parameters: the sweep itself decides {option}; leave it out "
                    "(train.py sweep has --mode and --runs-dir)"
                )
            found[option] = content
    return found


def parse_parameter(file: Path, name: str, spec: Any) -> Parameter:
    where = f"{file}: parameter {name}"
    if not isinstance(spec, dict):
        raise InputError(f"{where}: write value: X, values: [X, Y] or min: and max:")
    check_keys(file, spec, PARAMETER_KEYS, f"a key of parameter {name}")
    kind = spec.get("distribution") or _default_distribution(spec)
    kind = require_one_of(file, f"parameter {name}: distribution", kind, tuple(DISTRIBUTIONS))
    if kind == "categorical" and "probabilities" in spec:
        kind = "categorical_w_probabilities"
    needs = DISTRIBUTIONS[kind]
    given = {k: v for k, v in DEFAULTS.items() if k in needs} | spec
    if set(given) - {"distribution"} != set(needs):
        raise InputError(f"{where}: {kind} takes exactly {', '.join(needs)}")
    if kind == "constant" or kind.startswith("categorical"):
        return _choice(where, given)
    return _range(where, kind, [given[key] for key in needs])


def _choice(where: str, given: dict[str, Any]) -> Parameter:
    values = [given["value"]] if "value" in given else given["values"]
    if not isinstance(values, list) or not values or not all(map(_is_plain, values)):
        raise InputError(
            f"{where}: must be plain values or lists of them, one or more, for example "
            "values: [3, '3:9']"
        )
    weights = given.get("probabilities")
    if weights is None:
        return Parameter("constant" if "value" in given else "categorical", tuple(values))
    numbers = isinstance(weights, list) and all(map(is_number, weights))
    if not numbers or len(weights) != len(values) or min(weights) < 0:
        raise InputError(f"{where}: probabilities must be one number from 0 up for each value")
    if not math.isclose(sum(weights), 1, abs_tol=1e-6):
        raise InputError(f"{where}: probabilities must add up to 1, not {sum(weights):g}")
    return Parameter("categorical", tuple(values), weights=tuple(weights))


def _range(where: str, kind: str, numbers: list[Any]) -> Parameter:
    if not all(map(is_number, numbers)):
        names = ", ".join(DISTRIBUTIONS[kind])
        raise InputError(f"{where}: {names} must be numbers (write 0.001, not 1e-3)")
    low, high = numbers[:2]
    step = numbers[2] if len(numbers) == 3 else None
    whole = kind != "int_uniform" or (float(low).is_integer() and float(high).is_integer())
    wrong = high <= 0 if "normal" in kind else low >= high
    if wrong or not whole or (step is not None and step <= 0):
        needs = "sigma above 0" if "normal" in kind else "min below max"
        raise InputError(f"{where}: {kind} needs {needs}" + ("" if whole else ", both whole"))
    if "log_uniform_values" in kind and low <= 0:
        raise InputError(f"{where}: {kind} needs min above 0")
    if "log" in kind and "values" not in kind and max(abs(low), abs(high)) > 700:
        raise InputError(
            f"{where}: {kind} takes natural exponents from -700 to 700, for example -7 "
            "(0.0009); log_uniform_values takes the values themselves"
        )
    if (
        step
        and kind in ("q_uniform", "q_log_uniform_values")
        and math.ceil(low / step) > high // step
    ):
        raise InputError(f"{where}: no multiple of q {step} lies from {low} to {high}")
    return Parameter(kind, low=low, high=high, step=step)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_plain(v) and not isinstance(v, list) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _default_distribution(spec: dict[str, Any]) -> str:
    """What W&B assumes where no distribution is named."""
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical"
    if "mu" in spec or "sigma" in spec:
        return "normal"
    if "q" in spec:
        return "q_uniform"
    whole = all(isinstance(spec.get(key), int) for key in ("min", "max"))
    return "int_uniform" if whole else "uniform"
