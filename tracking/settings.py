"""Options of what is sent to Weights & Biases."""

from dataclasses import dataclass
from typing import ClassVar

from common.options import Choice, Integer, OptionGroup, Text, Words, option


@dataclass(frozen=True, kw_only=True)
class TrackingSettings(OptionGroup):
    """Where a run is tracked, and under which names. No part of a run's identity."""

    section: ClassVar[str] = "Tracking"

    project: str | None = option(
        None, Text(optional=True), "W&B project [WANDB_PROJECT, else convtune].", identity=False
    )
    entity: str | None = option(
        None, Text(optional=True), "W&B entity (team or user) [WANDB_ENTITY].", identity=False
    )
    group: str | None = option(
        None, Text(optional=True), "W&B group [WANDB_RUN_GROUP].", identity=False
    )
    name: str | None = option(
        None, Text(optional=True), "Run name; by default made from the settings.", identity=False
    )
    tags: tuple[str, ...] = option((), Words(), "W&B tags.", identity=False)
    notes: str | None = option(None, Text(optional=True), "W&B notes.", identity=False)
    mode: str | None = option(
        None,
        Choice(("online", "offline", "disabled"), optional=True),
        "W&B mode [WANDB_MODE, else online with an API key and offline without].",
        identity=False,
    )
    log_every: int = option(
        25, Integer(1), "Steps between two rows of training metrics.", identity=False
    )
