"""The interface between the loop and a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from common.media import Showing, Table
from data.batches import Batch, RandomParameters
from data.images import ImageData
from experiment.settings import RunSettings
from training.hardware import Hardware

Forward = Callable[[Tensor], Tensor]


class Task(Protocol):
    """One kind of experiment. The loop, tracking and run folder know nothing else of it.

    ``loss_name`` is the key of the trained loss in ``losses`` and, as ``train/<name>`` and
    ``val/<name>``, in every log.
    """

    settings: RunSettings
    data: ImageData
    loss_name: str
    ends_with_best: bool  # whether the end is judged with the best weights, or with the last
    metrics: tuple[str, ...]  # every key, train/… and val/… and test/…, in the order of the CSV

    @classmethod
    def load(cls, settings: RunSettings) -> Task:
        """The task with its data loaded; raises ``InputError`` where they cannot be had."""

    def build_model(self) -> nn.Module:
        """A freshly drawn network (from torch's global generator)."""

    def network_facts(self, model: nn.Module) -> tuple[dict[str, Any], Table]:
        """Countable facts for ``run.config`` and the params table."""

    def sample(self, generator: torch.Generator, n: int) -> RandomParameters:
        """The random parameters of n images for one epoch: tensors [n ...]."""

    def prepare(self, batch: Batch, hardware: Hardware) -> tuple[Tensor, Tensor]:
        """Network inputs and targets of a training batch, on the device."""

    def losses(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Scalars on the device, without a sync; the first one is trained."""

    def validate(self, forward: Forward, hardware: Hardware) -> dict[str, float]:
        """Metrics of the validation images, ``val/…``."""

    def final(
        self, forward: Forward, hardware: Hardware, history: list[dict[str, float]]
    ) -> dict[str, float]:
        """Metrics taken once, at the end (``test/…``), or none; ``history``: all rows so far."""

    def show(self, forward: Forward, hardware: Hardware, *, final: bool) -> Showing:
        """Tables and pictures of the fixed demo set."""
