"""Options: how one is declared, and how its value is read from the command line, YAML or an agent.

A reader is called with the option's name and a value (text or already typed), returns the value to
keep, and raises ``InputError`` with what is allowed and an example.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, ClassVar

from common.errors import InputError, one_of

NONE_SPELLINGS = (None, "", "none", "None", "null")


@dataclass(frozen=True, kw_only=True)
class OptionGroup:
    """Base of the settings groups. Each field is made by ``option``."""

    section: ClassVar[str]  # heading in --help


@dataclass(frozen=True)
class Option:
    """An option of the command line, and a key of ``run.config``.

    ``neutral`` is the option's first default; it never changes, because a run's identity holds just
    the options that differ from it. To change what the values mean, raise
    ``version``. ``identity=False`` marks an option that cannot change the results.
    ``only_if=("conv", "select")`` limits the option's effect to that value of another option.
    ``section`` overrides the group's heading in --help. ``name`` and ``default`` are filled in for
    each command.
    """

    neutral: Any
    read: Callable[[str, Any], Any]
    help: str
    section: str = ""
    version: int = 1
    identity: bool = True
    only_if: tuple[str, Any] | None = None
    name: str = ""
    default: Any = None

    def has_effect(self, values: Mapping[str, Any]) -> bool:
        """Whether the option acts beside the other options' ``values``."""
        return not self.only_if or values.get(self.only_if[0]) == self.only_if[1]


def option(
    neutral: Any,
    read: Callable[[str, Any], Any],
    help: str,
    *,
    default: Any = MISSING,
    **about: Any,
) -> Any:
    """A field of an ``OptionGroup``: an ``Option``, whose ``default`` may have left ``neutral``."""
    chosen = neutral if default is MISSING else default
    return field(default=chosen, metadata={"option": Option(neutral, read, help, **about)})


def flag(name: str) -> str:
    """``batch_size`` -> ``--batch-size``."""
    return "--" + name.replace("_", "-")


def invalid_value(name: str, value: Any, allowed: str) -> InputError:
    return InputError(f"{flag(name)} {value!s}: {allowed}")


@dataclass(frozen=True)
class Integer:
    """A whole number in [low, high], a multiple of ``step``; ``optional`` also takes ``none``."""

    low: int = 0
    high: int | None = None
    optional: bool = False
    metavar = "N"
    step: int = 1

    def __call__(self, name: str, value: Any) -> int | None:
        if self.optional and value in NONE_SPELLINGS:
            return None
        limits = f"from {self.low}" + (f" to {self.high}" if self.high is not None else " up")
        allowed = f"must be a whole number {limits}, for example {flag(name)} {max(self.low, 1)}"
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise invalid_value(name, value, allowed)
        if isinstance(value, str):  # W&B's agent writes a whole number of a range as 64.0
            value = re.sub(r"^(\s*[+-]?\d+)\.0+(\s*)$", r"\1\2", value)
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise invalid_value(name, value, allowed) from None
        if number < self.low or (self.high is not None and number > self.high):
            raise invalid_value(name, value, allowed)
        if number % self.step:
            example = f"for example {flag(name)} {number + self.step - number % self.step}"
            raise invalid_value(name, value, f"must be a multiple of {self.step}, {example}")
        return number


@dataclass(frozen=True)
class Odd(Integer):
    """An odd whole number in [low, high]."""

    def __call__(self, name: str, value: Any) -> int | None:
        number = super().__call__(name, value)
        if number is not None and number % 2 == 0:
            raise invalid_value(name, value, f"must be odd, for example {flag(name)} {number + 1}")
        return number


@dataclass(frozen=True)
class Real:
    """A finite number from ``low`` (above it, with ``above``) to ``high``, or ``none``."""

    low: float = 0.0
    high: float = math.inf
    above: bool = False
    example: str = "0.001"
    optional: bool = False
    metavar = "X"

    def __call__(self, name: str, value: Any) -> float | None:
        if self.optional and value in NONE_SPELLINGS:
            return None
        limits = f"{'above' if self.above else 'at least'} {self.low:g}"
        limits += f" and at most {self.high:g}" if self.high < math.inf else ""
        allowed = f"must be a number {limits}, for example {flag(name)} {self.example}"
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise invalid_value(name, value, allowed) from None
        too_low = number <= self.low if self.above else number < self.low
        if isinstance(value, bool) or not math.isfinite(number) or too_low or number > self.high:
            raise invalid_value(name, value, allowed)
        return number


class Boolean:
    """True or False; on the command line also ``--name`` and ``--no-name``."""

    metavar = "BOOL"

    def __call__(self, name: str, value: Any) -> bool:
        text = str(value).lower()
        if text in ("true", "1", "yes", "on"):
            return True
        if text in ("false", "0", "no", "off"):
            return False
        allowed = f"must be True or False, for example {flag(name)}=True"
        raise invalid_value(name, value, allowed)


@dataclass(frozen=True)
class Choice:
    """One of ``names``, any case; ``aliases`` maps further spellings to them."""

    names: tuple[str, ...]
    aliases: dict[str, str] = field(default_factory=dict)
    optional: bool = False

    def __call__(self, name: str, value: Any) -> str | None:
        if self.optional and value in NONE_SPELLINGS:
            return None
        known = {_plain(n): n for n in self.names} | self.aliases
        try:
            return known[_plain("none" if value is None else str(value))]
        except KeyError:
            raise invalid_value(name, value, one_of(value, self.names)) from None


def _plain(text: str) -> str:
    """Lower case, without hyphens, underscores and spaces between letters."""
    return re.sub(r"(?<=\w)[-_ ]", "", text.strip().lower())


@dataclass(frozen=True)
class Text:
    """Any text; ``optional`` also takes ``none``; in a ``path`` a leading ``~`` is the home."""

    optional: bool = False
    path: bool = False
    metavar = "TEXT"

    def __call__(self, name: str, value: Any) -> str | None:
        if self.optional and value in NONE_SPELLINGS:
            return None
        text = str(value)
        if not text.strip() or "\0" in text:
            raise invalid_value(name, value, f"must not be empty, for example {flag(name)} abc")
        return os.path.expanduser(text) if self.path else text


class PerLayer:
    """``N`` for every layer, a range ``A:B`` over the layers, or one value a layer: ``A,B,C``.

    Kept as an int (``N``) or as text without spaces; the rules are in ``models.per_layer``.
    """

    metavar = "N|A:B|A,B,…"

    def __call__(self, name: str, value: Any) -> int | str:
        text = re.sub(r"\s*([,:])\s*", r"\1", str(value).strip().strip("[]() "))
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,5}(:\d{1,5}|(,\d{1,5})*)", text):
            allowed = "must be a whole number (3), a range (3:9) or one value a layer (3,5,7)"
            raise invalid_value(name, value, f"{allowed}, for example {flag(name)} 3:9")
        return int(text) if text.isdigit() else text


@dataclass(frozen=True)
class Size:
    """An image size in pixels, ``N`` (square) or ``HxW``; kept as an int or as ``"HxW"``."""

    low: int
    high: int = 1024
    metavar = "N|HxW"

    def __call__(self, name: str, value: Any) -> int | str:
        allowed = (
            f"must be N or HEIGHTxWIDTH in pixels, each from {self.low} to {self.high}, "
            f"for example {flag(name)} 28 or {flag(name)} 32x48"
        )
        match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(value).strip().lower())
        if not match:
            raise invalid_value(name, value, allowed)
        height, width = int(match[1]), int(match[2] or match[1])
        if not (self.low <= height <= self.high and self.low <= width <= self.high):
            raise invalid_value(name, value, allowed)
        return height if height == width else f"{height}x{width}"


class Words:
    """A comma-separated list of words, kept as a tuple."""

    metavar = "A,B"

    def __call__(self, name: str, value: Any) -> tuple[str, ...]:
        if value in NONE_SPELLINGS:
            return ()
        parts = value if isinstance(value, (list, tuple)) else str(value).strip("[]").split(",")
        return tuple(text for part in parts if (text := str(part).strip().strip("'\"")))


class Interval:
    """A number of images (``20000``) or of minutes (``10m``), or ``none``."""

    metavar = "IMAGES|MINm"

    def __call__(self, name: str, value: Any) -> int | str | None:
        if value in NONE_SPELLINGS:
            return None
        match = re.fullmatch(r"(\d{1,12})(m?)", str(value).strip().lower())
        if not match or int(match[1]) < 1:
            allowed = "must be a number of images (20000) or of minutes (10m)"
            raise invalid_value(name, value, f"{allowed}, for example {flag(name)} 10m")
        return match[0] if match[2] else int(match[1])


class Seconds:
    """A number of seconds (``300``, ``300s``) or minutes (``5m``), kept as seconds; or ``auto``."""

    metavar = "SEC|MINm|auto"

    def __call__(self, name: str, value: Any) -> int | None:
        if value in NONE_SPELLINGS or value == "auto":
            return None
        match = re.fullmatch(r"(\d{1,9})([ms]?)", str(value).strip().lower())
        if not match:
            allowed = "must be seconds (300), minutes (5m), 0 or auto"
            raise invalid_value(name, value, f"{allowed}, for example {flag(name)} 5m")
        return int(match[1]) * (60 if match[2] == "m" else 1)
