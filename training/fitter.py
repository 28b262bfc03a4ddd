"""Nets that are fitted in one step from all training images, such as the baselines."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from common.errors import InputError
from data.batches import Batch
from training.base import BaseTrainer, Row, Stopwatch


class Fitter(BaseTrainer):
    """A trainer with one step, which calls ``net.fit(images, damage)``; no optimizer, no batches.

    Raises ``InputError`` where several processes would each fit the same net.
    """

    steps = 1

    def _set_up(self) -> None:
        if self.ranks.size > 1:
            raise InputError("a baseline is fitted by one process; leave out torchrun")
        torch.set_float32_matmul_precision("highest")  # TF32 on CUDA would change distances

    @property
    def total_images(self) -> int:
        return len(self.task.data.train)

    @property
    def images_seen(self) -> int:
        return self.step * self.total_images

    @property
    def epoch(self) -> float:
        return float(self.step)

    @property
    def at_validation(self) -> bool:
        return True

    @property
    def at_log_interval(self) -> bool:
        return True

    def train_step(self) -> None:
        """Fit the net to all training images."""
        self.timer.start()
        images = self.task.data.train.images.to(self.hardware.device)
        self.net.fit(images, self._damage)  # pyright: ignore[reportCallIssue]
        self.step = 1

    def _damage(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of ``images``, damaged as in training with the run's seed."""
        generator = torch.Generator().manual_seed(self.settings.seed)
        random = self.task.sample_parameters(generator, len(images))
        random = {name: values.to(images.device) for name, values in random.items()}
        labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        sample = self.task.prepare(Batch(images, labels, random))
        return sample.inputs, sample.targets

    def read_row(self) -> Row:
        """Counts and time; nothing is trained."""
        spent = self.timer.stop()
        return {
            "step": self.step,
            "images_seen": self.images_seen,
            "epoch": self.epoch,
            "perf/images_per_second": self.images_seen / spent if spent else 0.0,
            "perf/peak_memory_mib": self.hardware.peak_memory_mib(),
        }

    def state(self) -> dict[str, Any]:
        """A fitted net is fitted again rather than restored."""
        return {"step": self.step, "seconds": self.timer.seconds, "model": self.net.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Begin anew: the step is the whole work."""
        self.timer = Stopwatch()
