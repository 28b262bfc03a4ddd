"""The interface between a task and everything around it, and the evaluation loop of its metrics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from common.media import Examples, Table
from data.batches import Batch, RandomParameters
from data.images import ImageData
from tasks.metrics import Metric

Forward = Callable[[Tensor], Tensor]
Part = tuple[Tensor, Tensor, Tensor]  # outputs, targets and mask of some images
DEMO_IMAGES = 20


@dataclass(frozen=True)
class Sample:
    """What the net sees and what it is judged by.

    ``inputs`` float [n c h w]; ``targets`` float [n c h w] or labels int64 [n]; ``mask`` bool
    [n 1 h w]: the pixels that the corruption changed, empty in classification.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor


class Task(ABC):
    """One kind of experiment: data, net, loss, metrics and examples.

    ``loss_name`` is the key of the trained loss in ``losses``, logged as ``train/<loss_name>``.
    ``metrics`` are all keys of a row, in the order of the CSV.
    """

    name: str
    data: ImageData
    loss_name: str
    objective: str  # the metric that picks the best checkpoint
    ends_with_best: bool  # whether the final evaluation uses the best weights or the last ones
    metrics: tuple[str, ...]

    @abstractmethod
    def build_net(self) -> nn.Module:
        """A freshly initialised net (from torch's global generator)."""

    @abstractmethod
    def describe_net(self, net: nn.Module) -> tuple[dict[str, Any], Table]:
        """Counts for ``run.config`` and the params table."""

    @abstractmethod
    def sample_parameters(self, generator: torch.Generator, n: int) -> RandomParameters:
        """One epoch's random parameters for n images: tensors [n ...]."""

    @abstractmethod
    def prepare(self, batch: Batch) -> Sample:
        """The sample of a training batch, on the batch's device."""

    @abstractmethod
    def losses(self, outputs: Tensor, sample: Sample) -> dict[str, Tensor]:
        """Scalars on the device, without a sync; the first one is trained."""

    @abstractmethod
    def validate(self, forward: Forward, device: torch.device) -> dict[str, float]:
        """Metrics of the validation images, ``val/…``."""

    def final(
        self, forward: Forward, device: torch.device, history: list[dict[str, float]]
    ) -> dict[str, float]:
        """Metrics taken once, at the end; ``history`` holds all rows so far."""
        return {}

    @abstractmethod
    def examples(self, forward: Forward, device: torch.device, *, final: bool) -> Examples:
        """Tables and pictures of the fixed demo images."""


def evaluate(metrics: Sequence[Metric], parts: Iterable[Part], split: str) -> dict[str, float]:
    """``<split>/<metric>`` over all ``parts`` (outputs, targets, mask); one host-device sync.

    A metric without any terms (the kept pixels of a corruption that keeps none) is left out.
    """
    sums = [
        torch.stack([x.double().sum() for metric in metrics for x in metric.per_image(*part)])
        for part in parts
    ]
    totals = torch.stack(sums).sum(0).tolist()
    pairs = zip(metrics, totals[::2], totals[1::2], strict=True)
    return {f"{split}/{metric.name}": total / terms for metric, total, terms in pairs if terms}


def demo_indices(labels: Tensor) -> Tensor:
    """Indices of the first images of each class in turn, ``DEMO_IMAGES`` or as many as there are.

    For ten classes each class comes twice, with two different sides in restoration.
    """
    by_class = [(labels == label).nonzero().squeeze(1).tolist() for label in labels.unique()]
    in_turn = [i for turn in zip_longest(*by_class) for i in turn if i is not None]
    return torch.tensor(in_turn[:DEMO_IMAGES])
