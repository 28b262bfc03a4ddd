"""Nets that are fitted in one step from all training images, such as the baselines."""

from typing import Any

import torch
from torch import Tensor

from common.errors import InputError
from data.batches import Batch
from training.base import BaseTrainer, Row


class Fitter(BaseTrainer):
    """A trainer with one step, which calls ``net.fit(images, damage)``; no optimizer, no batches.

    Raises ``InputError`` where several processes would each fit the same net.
    """

    def _set_up(self) -> None:
        if self.ranks.size > 1:
            raise InputError("a baseline is fitted by one process; leave out torchrun")
        torch.set_float32_matmul_precision("highest")  # TF32 on CUDA would change distances
        self.steps, self.step_images = 1, len(self.task.data.train)

    def train_step(self) -> None:
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
        return self.progress(self.step_images, self.timer.stop())

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "seconds": self.timer.seconds, "model": self.net.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing: a net is fitted again rather than restored."""
