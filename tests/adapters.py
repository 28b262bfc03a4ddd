"""How the referee, golden and planted tests call the code under test.

A restructuring changes this file and leaves those tests as they are. Nothing here computes what a
test checks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data import load
from data.images import ImageData, Split
from data.settings import DataSettings
from experiment.settings import Settings
from tasks import classification, restoration
from tests.conftest import rows_of
from training.hardware import choose_hardware
from training.trainer import Trainer as RealTrainer

PLAIN = {"mode": "disabled", "device": "cpu", "precision": "fp32"}


def image_data(train: Any, val: Any, test: Any = None, classes: int = 4) -> ImageData:
    """A data set of (uint8 [n c h w], int64 [n]) pairs in memory."""
    names = tuple(f"class {n}" for n in range(classes))
    held_out = Split(*test) if test else None
    return ImageData(
        name="memory", train=Split(*train), val=Split(*val), test=held_out, class_names=names,
        checksum="0" * 64, source="memory",
    )  # fmt: skip


def load_data(name: str, *, size: tuple[int, int], root: Any = None, **options: Any) -> ImageData:
    """A data set by name at ``size`` (height, width)."""
    more = {k: options.pop(k) for k in ("channels", "auto") if k in options}
    text = "x".join(map(str, size))
    return load.load_data(DataSettings(data=name, data_root=root, size=text, **options), **more)


def build_net(config: dict[str, Any], classes: int, channels: int) -> nn.Module:
    """The net that a run's config describes, with weights of its own."""
    command = config["command"]
    known = Settings.parse(command, {}).flat()
    settings: Any = Settings.parse(command, {k: v for k, v in config.items() if k in known})
    size = int(config["size"]), int(config["size"])
    if command == "classify":
        return classification.build_net(settings.net, classes, (channels, *size))
    return restoration.build_net(command, settings.net, settings.task, channels, size)


def set_chunk(monkeypatch: Any, images: int) -> None:
    """Validate so many images at a time."""
    monkeypatch.setattr(restoration, "CHUNK", images)
    monkeypatch.setattr(classification, "CHUNK", images)


class Trainer:
    """The real trainer of a command on ``data``, its net drawn after ``torch.manual_seed(0)``."""

    def __init__(self, command: str, data: ImageData, **values: Any) -> None:
        size = "x".join(map(str, data.train.images.shape[-2:]))
        settings: Any = Settings.parse(command, PLAIN | {"size": size} | values)
        self.task: Any
        if command == "classify":
            self.task = classification.Classification(settings.net, settings.task, data)
        else:
            self.task = restoration.Restoration(command, settings.net, settings.task, data)
        torch.manual_seed(0)
        hardware = choose_hardware(settings.hardware)
        self.real = RealTrainer(
            self.task, self.task.build_net(), settings.training, hardware, log_every=1
        )
        self.net: nn.Module = self.real.net
        self.optimizer: torch.optim.Optimizer = self.real.optimizer
        self.steps: int = self.real.steps
        self.net.train()

    def raw_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The images as stored and the labels of a training batch."""
        batch = self.real.stream.batch(step)
        return batch.images, batch.labels

    def prepared(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """A training batch as the net gets it: inputs, targets, mask of what was erased."""
        sample = self.task.prepare(self.real.stream.batch(step))
        return sample.inputs, sample.targets, sample.mask if len(sample.mask) else None

    def train_step(self) -> dict[str, float]:
        """Do the next step; returns its losses."""
        self.real.train_step()
        return self.real.meter.read()

    def train(self) -> list[dict[str, float]]:
        """Train to the end through the real loop; the rows, one a step."""
        return rows_of(self.real)

    def validate(self) -> dict[str, float]:
        return self.real.validate()

    def forward_evaluating(self, inputs: Tensor) -> Tensor:
        """The outputs that validation, test and demo figures are computed from."""
        with self.real.evaluating():
            return self.real.forward(inputs)

    def spy_on_losses(self, seen: Callable[[Tensor], object]) -> None:
        """Call ``seen`` with the outputs that the losses are computed from."""
        losses = self.task.losses

        def spied(outputs: Tensor, sample: Any) -> dict[str, Tensor]:
            seen(outputs)
            return losses(outputs, sample)

        self.task.losses = spied

    def state(self) -> dict[str, Any]:
        return self.real.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.real.load_state(state)


def load_checkpoint(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)
