"""From settings to the task that trains them, with its data loaded."""

from __future__ import annotations

from experiment.settings import RunSettings
from tasks.base import Task
from tasks.classification import Classification
from tasks.restoration import Restoration

TASKS: dict[str, type[Task]] = {"resconv": Restoration, "classify": Classification}


def make_task(settings: RunSettings) -> Task:
    """The task of ``settings``. Raises ``InputError`` where its data cannot be had."""
    return TASKS[settings.task].load(settings)
