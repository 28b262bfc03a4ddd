"""What every trainer has: a net in training or evaluation mode, and the clocks of both."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tasks.base import Task
from training.distributed import DistributedContext
from training.hardware import Hardware
from training.settings import TrainingSettings

Row = dict[str, float]


class Stopwatch:
    """Seconds between ``start`` and ``stop``, summed; ``seconds`` includes the current interval."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.before, self.since = seconds, None

    @property
    def seconds(self) -> float:
        return self.before + (0.0 if self.since is None else time.perf_counter() - self.since)

    def start(self) -> None:
        self.since = time.perf_counter()

    def stop(self) -> float:
        """Stop; returns the seconds since ``start``."""
        before, self.before = self.before, self.seconds
        self.since = None
        return self.before - before

    def exclude(self, seconds: float) -> None:
        """Leave out ``seconds`` of the current interval, if there is one."""
        if self.since is not None:
            self.since += seconds


class BaseTrainer(ABC):
    """A task's net on its device: evaluation, counters, clocks, and the interface of the loop.

    ``step`` counts the steps done, of ``steps``; each takes ``step_images`` training images. A kind
    of trainer sets both in ``_set_up``, with what it needs beside the net.
    """

    steps: int
    step_images: int

    def __init__(
        self,
        task: Task,
        net: nn.Module,
        settings: TrainingSettings,
        hardware: Hardware,
        ranks: DistributedContext | None = None,
        *,
        log_every: int = 25,
    ) -> None:
        self.task, self.settings, self.hardware = task, settings, hardware
        self.log_every = log_every
        self.ranks = ranks or DistributedContext()
        self.net = hardware.prepare(self.ranks.prepare(net, hardware.device))
        self.compiled_net = hardware.compiled(self.net)
        self.timer = Stopwatch()  # runs during training steps
        self.validation_timer = Stopwatch()
        self.phase = "train"  # or what else is done now: for the display and the watchdog
        self.step = 0
        self._set_up()

    @abstractmethod
    def _set_up(self) -> None: ...

    @abstractmethod
    def train_step(self) -> None:
        """Do one step. No value is read back here."""

    @abstractmethod
    def read_row(self) -> Row:
        """Metrics since the last row; the only host-device sync. Raises ``NonFiniteLoss``."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, as tensors and plain values."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Continue exactly from what ``state()`` gave."""

    @property
    def total_images(self) -> int:
        """The budget in images; with ``--minutes`` what the speed so far leaves time for."""
        return self.steps * self.step_images

    @property
    def images_seen(self) -> int:
        return self.step * self.step_images

    @property
    def epoch(self) -> float:
        """Passes over the training images so far."""
        return round(self.images_seen / len(self.task.data.train), 4)

    @property
    def at_validation(self) -> bool:
        """After the first step past the end of each epoch, and after the last step."""
        epoch = len(self.task.data.train)
        before = (self.images_seen - self.step_images) // epoch
        return self.step == self.steps or self.images_seen // epoch > before

    @property
    def at_log_interval(self) -> bool:
        return self.step % self.log_every == 0

    def progress(self, images: int, seconds: float) -> Row:
        """The part of a row that every trainer has; ``images`` took ``seconds``."""
        return {
            "step": self.step,
            "images_seen": self.images_seen,
            "epoch": self.epoch,
            "perf/images_per_second": images / seconds if seconds else 0.0,
            "perf/peak_memory_mib": self.hardware.peak_memory_mib(),
        }

    def validate(self) -> Row:
        """The task's metrics of the validation images; {} on ranks above 0."""
        if self.ranks.rank:
            return {}
        with self.evaluating():
            return self.task.validate(self.forward, self.hardware.device)

    def forward(self, inputs: Tensor) -> Tensor:
        """The net's outputs in float32, in its arithmetic."""
        with self.hardware.autocast():
            return self.compiled_net(inputs).float()

    @contextmanager
    def evaluating(self, phase: str = "validate") -> Iterator[None]:
        """``with``: evaluation mode without gradients; training mode again after it."""
        self.phase = phase
        self.net.eval()
        self.validation_timer.start()
        try:
            with torch.no_grad():
                yield
        finally:
            self.validation_timer.stop()
            self.net.train()
            self.phase = "train"
