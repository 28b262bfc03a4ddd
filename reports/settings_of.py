"""What distinguishes one run's experiment from another's: its settings without the seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import Field
from typing import Any

from common.errors import InputError
from experiment.command import command_line, deciding_fields
from tracking.record import RunRecord

_OF_THE_PLACE = ("device", "data_root", "checkpoint_activations")
_LEFT_OUT = ("seed", "epochs", *_OF_THE_PLACE)
_WHEN_NONE_VARIES = {"resconv": ("layers", "ks", "ch"), "classify": ("model", "conv", "rank")}


def setting_fields(task: str) -> list[Field[Any]]:
    """The settings that can change a run's numbers, model settings first."""
    return [f for f in deciding_fields(task) if f.name not in _LEFT_OUT]


def settings_of(record: RunRecord) -> dict[str, Any]:
    """The run's settings by name: the data set and arithmetic used, and the budget in images.

    ``checksum`` tells two data sets of one name apart.
    """
    dataset, environment = (record.config.get(key) or {} for key in ("dataset", "environment"))
    settings = {f.name: _canonical(f, record) for f in setting_fields(record.task)}
    settings["data"] = dataset.get("name") or settings["data"]
    settings["images"] = record.summary.get("images_total") or settings["images"]
    settings["precision"] = environment.get("precision") or settings["precision"]
    settings["checksum"] = str(dataset.get("checksum") or "")[:8]
    return settings


def _canonical(field: Field[Any], record: RunRecord) -> Any:
    """The value as the settings class keeps it; a W&B sweep records it as the YAML has it."""
    value = record.config.get(field.name, field.default)
    try:
        return field.metadata["read"](field.name, value)
    except InputError:
        return value


def command_of(record: RunRecord) -> str:
    """The command that repeats the run elsewhere: every setting that is not the default."""
    known = {f.name: _canonical(f, record) for f in deciding_fields(record.task)}
    elsewhere = {k: v for k, v in known.items() if k not in _OF_THE_PLACE}
    return command_line(record.task, elsewhere)


def varying(settings: Sequence[dict[str, Any]], task: str) -> list[str]:
    """The names of the settings that differ between these experiments."""
    names = [name for name in settings[0] if len({str(s[name]) for s in settings}) > 1]
    explained = {"data", "size", "train_images", "val_images"} & set(names)
    if "checksum" in names and explained:
        names.remove("checksum")
    return names or list(_WHEN_NONE_VARIES[task])


def natural(value: Any) -> tuple[Any, ...]:
    """A sort key: numbers by size, ``3:9`` before ``3:11``, missing values last."""
    if value is None:
        return (2,)
    parts = re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?|[^\d]+", str(value).lower())
    return (1, *((0, float(p), "") if p[0].isdigit() else (1, 0.0, p) for p in parts))
