"""Parameters of a sweep: W&B's distributions, read from YAML and evaluated at a quantile."""

import itertools
import json
import math
from bisect import bisect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
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
PARAMETER_KEYS = ("distribution", *dict.fromkeys(sum(DISTRIBUTIONS.values(), ())))
BOUNDED = ("q_uniform", "q_log_uniform_values")  # multiples of q within min and max
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
    def count(self) -> float:
        """The number of values; infinite for a continuous range."""
        if self.distribution == "int_uniform":
            return int(self.high) - int(self.low) + 1
        return len(self.listed()) if self.values else math.inf

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
        if self.weights:
            sums = list(itertools.accumulate(self.weights))
            return self.values[bisect(sums, quantile * sums[-1])]
        if self.distribution == "int_uniform" or self.values:
            values = self.listed()
            return values[int(quantile * len(values))]
        kind, low, high = self.distribution.removeprefix("q_"), self.low, self.high
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
        return value if self.step is None else self._quantised(value, self.step)

    def _quantised(self, value: float, step: float) -> float:
        """The nearest multiple of ``step`` within the bounds; whole for a whole ``step``."""
        number = round(value / step)
        if self.distribution in BOUNDED:
            number = min(max(number, math.ceil(self.low / step)), math.floor(self.high / step))
        return number * step


def check_keys(given: dict[str, Any], known: Collection[str], what: str) -> None:
    for key in given:
        if key not in known:
            raise InputError(
                f"{key!r} is not {what}, allowed are {', '.join(known)}.{nearest(str(key), known)}"
            )


def require_one_of(name: str, value: Any, known: Collection[str]) -> str:
    if value not in tuple(known):  # a list cannot be looked up in a dict
        raise InputError(f"{name} {value}: {one_of(value, known)}")
    return value


def refuse_reserved(name: str) -> None:
    """Raise ``InputError`` for an option that is the sweep's own."""
    if name in RESERVED_PARAMETERS:
        raise InputError(
            f"{name}: the sweep itself decides it; leave it out (train.py sweep has --mode and "
            "--runs-dir)"
        )


def flat_parameters(given: Any) -> dict[str, Any]:
    """The specifications by option name, with underscores; nested groups are flattened."""
    if not isinstance(given, dict) or not given:
        raise InputError("parameters must map option names to values: or min: and max:")
    found: dict[str, Any] = {}
    for key, spec in given.items():
        nested = isinstance(spec, dict) and "parameters" in spec
        inner = flat_parameters(spec["parameters"]) if nested else {str(key): spec}
        for option, content in inner.items():
            name = option.replace("-", "_")
            if name in found:
                raise InputError(f"parameter {name} is given twice (as {key}); give one")
            refuse_reserved(name)
            found[name] = content
    return found


def parse_parameter(name: str, spec: Any) -> Parameter:
    """The parameter ``name`` of a sweep file. Raises ``InputError``."""
    where = f"parameter {name}"
    if not isinstance(spec, dict):
        raise InputError(f"{where}: write value: X, values: [X, Y] or min: and max:")
    check_keys(spec, PARAMETER_KEYS, f"a key of {where}")
    kind = spec.get("distribution") or _default_distribution(spec)
    require_one_of(f"{where}: distribution", kind, DISTRIBUTIONS)
    if kind == "categorical" and "probabilities" in spec:
        kind = "categorical_w_probabilities"
    needs = DISTRIBUTIONS[kind]
    given = {k: v for k, v in DEFAULTS.items() if k in needs} | spec
    given.pop("distribution", None)
    if set(given) != set(needs):
        raise InputError(f"{where}: {kind} takes exactly {', '.join(needs)}")
    try:
        if needs[0] in ("value", "values"):
            return _choice(given)
        return _range(kind, *(given[key] for key in needs))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _choice(given: dict[str, Any]) -> Parameter:
    kind = "constant" if "value" in given else "categorical"
    values = [given["value"]] if "value" in given else given["values"]
    if not isinstance(values, list) or not values or not all(map(_is_plain, values)):
        raise InputError(
            "must be plain values or lists of them, one or more, for example values: [3, '3:9']"
        )
    probabilities = given.get("probabilities")
    if probabilities is None:
        return Parameter(kind, tuple(values))
    numbers = isinstance(probabilities, list) and all(map(is_number, probabilities))
    if not numbers or len(probabilities) != len(values) or min(probabilities) < 0:
        raise InputError("probabilities must be one number from 0 up for each value")
    if not math.isclose(sum(probabilities), 1, abs_tol=1e-6):
        raise InputError(f"probabilities must add up to 1, not {sum(probabilities):g}")
    return Parameter(kind, tuple(values), weights=tuple(probabilities))


def _range(kind: str, low: Any, high: Any, *q: Any) -> Parameter:
    if not all(is_number(number) for number in (low, high, *q)):
        names = ", ".join(DISTRIBUTIONS[kind])
        raise InputError(f"{names} must be numbers (write 0.001, not 1e-3)")
    step = q[0] if q else None
    if step is not None and step <= 0:
        raise InputError(f"{kind} needs q above 0")
    if "normal" in kind and high <= 0:
        raise InputError(f"{kind} needs sigma above 0")
    if "normal" not in kind and low >= high:
        raise InputError(f"{kind} needs min below max")
    if kind == "int_uniform" and (low % 1 or high % 1):
        raise InputError(f"{kind} needs whole numbers")
    if "log_uniform_values" in kind and low <= 0:
        raise InputError(f"{kind} needs min above 0")
    if "log" in kind and "values" not in kind and max(abs(low), abs(high)) > 700:
        raise InputError(
            f"{kind} takes natural exponents from -700 to 700, for example -7 (0.0009); "
            "log_uniform_values takes the values themselves"
        )
    if step and kind in BOUNDED and math.ceil(low / step) > high // step:
        raise InputError(f"no multiple of q {step} lies from {low} to {high}")
    return Parameter(kind, low=low, high=high, step=step)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_plain(v) and not isinstance(v, list) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _default_distribution(spec: dict[str, Any]) -> str:
    """What W&B assumes where no distribution is named."""
    kinds = {"value": "constant", "values": "categorical", "mu": "normal", "sigma": "normal",
             "q": "q_uniform"}  # fmt: skip
    for key, kind in kinds.items():
        if key in spec:
            return kind
    whole = all(isinstance(spec.get(key), int) for key in ("min", "max"))
    return "int_uniform" if whole else "uniform"
