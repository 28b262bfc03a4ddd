"""The command line that does a run of given settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from common.options import flag
from experiment.settings import SETTINGS

GROUPS = ("Model", "Data", "Augmentation", "Training", "Hardware")  # not where, nor what is kept


def deciding_fields(task: str) -> list[Field[Any]]:
    """The settings that make a run what it is, model settings first."""
    kept = [f for f in fields(SETTINGS[task]) if f.metadata["group"] in GROUPS]
    return sorted(kept, key=lambda f: GROUPS.index(f.metadata["group"]))


def command_line(task: str, values: Mapping[str, Any]) -> str:
    """``python train.py TASK`` with those of ``values`` that decide and are not the default."""
    words = ["python", "train.py", task]
    for field in deciding_fields(task):
        value = values.get(field.name)
        rankless = field.name == "rank" and values.get("conv") == "full"  # one would be refused
        if value is not None and value != field.default and not rankless:
            words += [f"{flag(field.name)}={value}"]
    return shlex.join(words)
