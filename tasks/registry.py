"""The tasks and corruptions by name. Torch-free: an entry is imported when it is used."""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from common.errors import InputError, nearest
from common.options import Integer, Real, flag, invalid_value

TASKS = {
    "restoration": "tasks.restoration:Restoration",
    "classification": "tasks.classification:Classification",
}


@dataclass(frozen=True)
class CorruptionEntry:
    """A corruption's class, the reader of its strength (None where it takes none), its help."""

    path: str
    strength: Callable[[str, Any], Any] | None = None
    example: str = ""
    what: str = ""


CORRUPTIONS = {
    "half": CorruptionEntry("tasks.corruptions:Half", example="half", what="one half erased"),
    "noise": CorruptionEntry(
        "tasks.corruptions:Noise", Real(0, 255, above=True), "noise:25",
        "Gaussian, sigma on the scale 0-255",
    ),
    "squares": CorruptionEntry(
        "tasks.corruptions:Squares", Integer(1, 100), "squares:4", "number of squares erased"
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CorruptionName:
    """Reader of ``NAME`` or ``NAME:STRENGTH``; keeps the text in one spelling."""

    metavar: str = "NAME[:STRENGTH]"

    def __call__(self, name: str, value: Any) -> str:
        kind, _, strength = str(value).strip().lower().partition(":")
        entry = CORRUPTIONS.get(kind)
        if entry is None:
            allowed = f"must be one of {', '.join(e.example or n for n, e in CORRUPTIONS.items())}"
            raise invalid_value(name, value, allowed + "." + nearest(kind, CORRUPTIONS))
        if entry.strength is None:
            if strength:
                raise invalid_value(name, value, f"{kind} takes no strength; give {kind}")
            return kind
        try:
            return f"{kind}:{entry.strength(name, strength):g}"
        except InputError as error:
            reason = str(error).partition(": ")[2].partition(", for example")[0]
            raise InputError(
                f"{flag(name)} {value}: the strength {reason}, for example {entry.example}"
            ) from None


def make_corruption(text: str) -> Any:
    """The corruption that a value of ``--corruption`` names."""
    kind, _, strength = text.partition(":")
    entry = CORRUPTIONS[kind]
    arguments = [entry.strength("strength", strength)] if entry.strength else []
    return resolve_name(entry.path)(*arguments)


def make_task(settings: Any) -> Any:
    """The task of the whole ``settings`` with its data loaded. Raises ``InputError``."""
    return resolve_name(TASKS[settings.task_name]).load(settings)
