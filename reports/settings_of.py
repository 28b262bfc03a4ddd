"""What distinguishes one run's experiment from another's: its settings without the seed."""

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from common.errors import InputError, nearest
from common.options import Option
from experiment.settings import command_line, options_of
from models.registry import NETS
from reports.csv_files import CsvRun
from tracking.record import RunRecord

_OF_MACHINE = ("checkpoint_activations",)
_LEFT_OUT = ("seed", "epochs", *_OF_MACHINE)
_DEFAULT_LABELS = {"resconv": ("layers", "ks", "ch"), "classify": ("model", "conv", "rank")}


def task_of(record: RunRecord) -> str:
    """What the run's net does: restoration or classification."""
    return NETS[record.command].task


def settings_of(record: RunRecord) -> dict[str, Any]:
    """The run's settings by name: the data set and arithmetic used, and the budget in images.

    ``checksum`` tells two data sets of one name apart.
    """
    if isinstance(record, CsvRun):
        known = {key: value for key, value in record.config.items() if key != "seed"}
        return {"data": None, "checksum": ""} | known
    dataset, environment = (record.config.get(key) or {} for key in ("dataset", "environment"))
    settings = {
        name: _canonical(option, record)
        for name, option in options_of(record.command).items()
        if option.identity and name not in _LEFT_OUT
    }
    settings["data"] = dataset.get("name") or settings["data"]
    settings["images"] = record.summary.get("images_total") or settings["images"]
    settings["precision"] = environment.get("precision") or settings["precision"]
    settings["command"] = record.command
    settings["checksum"] = str(dataset.get("checksum") or "")[:8]
    return settings


def _canonical(option: Option, record: RunRecord) -> Any:
    """The value as the settings keep it; a W&B sweep records it as the YAML has it."""
    value = record.config.get(option.name, option.neutral)
    try:
        return option.read(option.name, value)
    except InputError:
        return value


def command_of(record: RunRecord) -> str:
    """The command that repeats the run elsewhere: every setting that is not the default."""
    options = options_of(record.command).items()
    known = {n: _canonical(o, record) for n, o in options if o.identity and n not in _OF_MACHINE}
    return command_line(record.command, known)


def varying(settings: Sequence[dict[str, Any]], command: str) -> list[str]:
    """The names of the settings that differ between these experiments."""
    known = dict.fromkeys(name for each in settings for name in each)
    names = [name for name in known if len({str(s.get(name)) for s in settings}) > 1]
    names.sort(key=lambda name: name != "command")  # first: the first is never left out
    explained = {"data", "size", "train_images", "val_images"} & set(names)
    if "checksum" in names and explained:
        names.remove("checksum")
    labels = [name for name in _DEFAULT_LABELS.get(command, ()) if name in known]
    return names or labels or ["command"]


def ambiguous_names(settings: Sequence[dict[str, Any]]) -> set[str]:
    """Names that stand for several data sets, told apart by checksum alone."""
    prepared = ("data", "size", "train_images", "val_images", "checksum")
    found = {tuple(each.get(key) for key in prepared) for each in settings}
    without = Counter(key[:-1] for key in found)
    return {str(key[0]) for key, checksums in without.items() if checksums > 1}


def require(asked: str, name: str, known: Collection[str]) -> None:
    """Raise ``InputError`` where ``known`` does not have the ``name`` that ``asked`` gave."""
    if name not in known:
        hint = f"{nearest(name, known)} There are {', '.join(sorted(known))}"
        raise InputError(f"{asked} {name}: no run has it.{hint}")


def natural(value: Any) -> tuple[Any, ...]:
    """A sort key: numbers by size, ``3:9`` before ``3:11``, missing values last."""
    if value is None or value == "":
        return (2,)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (2,) if math.isnan(value) else (0, value)
    parts = re.findall(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?|[^\d]+", str(value).lower())
    return (1, *((0, float(p), "") if p[0].isdigit() else (1, 0.0, p) for p in parts))
