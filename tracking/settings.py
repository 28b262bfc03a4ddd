"""Options of what is sent to Weights & Biases."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from common.options import Choice, Integer, OptionGroup, Text, Words, option

_option = partial(option, identity=False)  # none is part of the identity
_TEXT = Text(optional=True)


@dataclass(frozen=True, kw_only=True)
class TrackingSettings(OptionGroup):
    """Where a run is tracked, and under which names. No part of a run's identity."""

    section: ClassVar[str] = "Tracking"

    project: str | None = _option(None, _TEXT, "W&B project [WANDB_PROJECT, else convtune].")
    entity: str | None = _option(None, _TEXT, "W&B entity (team or user) [WANDB_ENTITY].")
    group: str | None = _option(None, _TEXT, "W&B group [WANDB_RUN_GROUP].")
    name: str | None = _option(None, _TEXT, "Run name; by default made from the settings.")
    tags: tuple[str, ...] = _option((), Words(), "W&B tags.")
    notes: str | None = _option(None, _TEXT, "W&B notes.")
    mode: str | None = _option(
        None,
        Choice(("online", "offline", "disabled"), optional=True),
        "W&B mode [WANDB_MODE, else online with an API key and offline without].",
    )
    log_every: int = _option(25, Integer(1), "Steps between two rows of training metrics.")
