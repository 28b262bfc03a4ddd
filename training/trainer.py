"""THE training loop and THE training step, shared by every task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError, RunError
from data.batches import BatchStream
from experiment.settings import RunSettings
from models.fastest import remember_ways, remembered_ways
from tasks.base import Task
from training.distributed import Team
from training.hardware import Hardware
from training.schedule import learning_rate


class NonFiniteLoss(RunError):
    """The loss became NaN or infinite; no weight was changed by that step or any after it."""


class Meter:
    """Sums of losses, kept on the device; reading them is the loop's only sync."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: tuple[str, ...] = ()
        self.sums = torch.zeros(0, device=device)
        self.count = 0

    def add(self, losses: dict[str, Tensor]) -> None:
        """Add one step's scalars."""
        if not self.count:
            self.names = tuple(losses)
            self.sums = torch.zeros(len(losses), device=self.device)
        self.sums += torch.stack([loss.detach() for loss in losses.values()])
        self.count += 1

    def read(self) -> dict[str, float]:
        """Means since the last reading, which start anew. One host-device sync."""
        means = (self.sums / max(self.count, 1)).tolist()
        self.count = 0
        return dict(zip(self.names, means, strict=True))


class Stopwatch:
    """Seconds between ``start`` and ``stop``, summed; ``seconds`` counts while it runs, too."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.before, self.since = seconds, None

    @property
    def seconds(self) -> float:
        running = 0.0 if self.since is None else time.perf_counter() - self.since
        return self.before + running

    def start(self) -> None:
        self.since = time.perf_counter()

    def stop(self) -> float:
        """Seconds since ``start``."""
        spent = time.perf_counter() - self.since
        self.before, self.since = self.before + spent, None
        return spent


class Training:
    """A network, its optimizer and its batches; ``step`` counts the steps done."""

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        hardware: Hardware,
        team: Team | None = None,
    ) -> None:
        settings = task.settings
        self.task, self.settings, self.hardware = task, settings, hardware
        self.team = team or Team()
        self.model = hardware.prepare(self.team.prepare(model, hardware.device))
        self.net = hardware.compiled(self.model)
        self.trained_net = self.team.joined(self.net)
        self.optimizer = make_optimizer(settings, self.model)
        # Fused optimizers skip a step on the device where this is 1: no sync to watch the loss.
        self.broken = torch.zeros((), device=hardware.device)
        self.broken_steps = torch.zeros((), device=hardware.device)
        self.optimizer.found_inf = self.broken
        device = hardware.device
        self.stream = BatchStream(
            task.data.train.images.to(device),
            task.data.train.labels.to(device),
            batch_size=settings.batch_size,
            seed=settings.seed,
            sample=task.sample,
            shard=(self.team.rank, self.team.size),
        )
        self.total_images = settings.images or settings.epochs * len(self.stream)
        self.steps = self.total_images // settings.batch_size
        if not self.steps:
            raise InputError(
                f"--batch-size {settings.batch_size}: {self.total_images} training images are "
                f"less than one batch, for example --batch-size {self.total_images}"
            )
        self.validation_steps = {
            min(math.ceil(epoch * len(self.stream) / settings.batch_size), self.steps)
            for epoch in range(1, self.total_images // len(self.stream) + 1)
        } | {self.steps}
        self.meter = Meter(device)
        self.step = 0
        self.watch = Stopwatch()  # runs during training steps
        self.phase = "train"  # or "validate": what the display shows

    @property
    def images_seen(self) -> int:
        return self.step * self.settings.batch_size

    def train_step(self) -> None:
        """Batch, forward, loss, backward, update. No value is read back here."""
        self.team.seed(self.settings.seed, self.step)
        inputs, targets = self.task.prepare(self.stream.batch(self.step), self.hardware)
        with self.hardware.autocast():
            outputs = self.trained_net(inputs)
        losses = self.task.losses(outputs.float(), targets)
        part = len(inputs), self.settings.batch_size
        self.team.weighed(next(iter(losses.values())), *part).backward()
        losses = self.team.mean(losses, *part)
        self.broken.logical_or_(~next(iter(losses.values())).detach().isfinite())
        self.broken_steps += self.broken
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.meter.add(losses)
        self.step += 1

    def learning_rate(self) -> float:
        """The rate of the next step."""
        return learning_rate(self.settings.scheduler, self.settings.lr, self.step, self.steps)

    def fit(self, after_step: Callable[[], bool]) -> Iterator[dict[str, float]]:
        """Train to the end, giving a row of metrics at each log interval and validation.

        ``after_step`` is called between steps; where it returns True, training stops there.
        Raises ``NonFiniteLoss`` at the end of the interval in which the loss broke.
        """
        interval_start = self.step
        self.watch.start()
        self.model.train()
        while self.step < self.steps:
            self.train_step()
            validating = self.step in self.validation_steps
            if validating or self.step % self.settings.log_every == 0:
                means = self.meter.read()
                spent = self.watch.stop()
                self.check_finite()
                row = self._row(means, (self.step - interval_start) / spent)
                yield row | (self.validate() if validating and self.team.rank == 0 else {})
                interval_start = self.step
                self.watch.start()
            if self.team.all_stop(after_step()):
                self.watch.stop()
                return

    def _row(self, means: dict[str, float], steps_per_second: float) -> dict[str, float]:
        return {
            "step": self.step,
            "images_seen": self.images_seen,
            "epoch": round(self.images_seen / len(self.stream), 4),
            **{f"train/{name}": mean for name, mean in means.items()},
            "train/lr": self.optimizer.param_groups[0]["lr"],
            "perf/images_per_second": steps_per_second * self.settings.batch_size,
            "perf/peak_memory_mib": self.hardware.peak_memory_mib(),
        }

    def check_finite(self) -> None:
        """Raises ``NonFiniteLoss`` if the loss was NaN or infinite since the run began."""
        count = int(self.broken_steps.item())
        if count:
            step = self.step - count
            rate = learning_rate(self.settings.scheduler, self.settings.lr, step, self.steps)
            raise NonFiniteLoss(
                f"the loss became NaN or infinite at step {step + 1} of {self.steps} (learning "
                f"rate {rate:.3g}); the weights are those before it; lower --lr"
            )

    def validate(self) -> dict[str, float]:
        """The task's metrics of the validation images."""
        with self.evaluating():
            return self.task.validate(self.forward, self.hardware)

    def forward(self, inputs: Tensor) -> Tensor:
        """The network's outputs in float32, in its arithmetic."""
        with self.hardware.autocast():
            return self.net(inputs).float()

    def evaluating(self) -> Evaluating:
        """A context in evaluation mode without gradients."""
        return Evaluating(self)

    def state(self) -> dict[str, Any]:
        """All that decides how training goes on, as tensors and plain values.

        Raises ``NonFiniteLoss``: what a broken loss has touched is not to be kept.
        """
        self.check_finite()
        cuda = self.hardware.device.type == "cuda"
        return {
            "step": self.step,
            "seconds": self.watch.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "meter": {
                "names": list(self.meter.names),
                "sums": self.meter.sums,
                "count": self.meter.count,
            },
            "ways": remembered_ways(),
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(self.hardware.device) if cuda else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``state()`` gave, bit by bit."""
        self.step, self.watch = state["step"], Stopwatch(state["seconds"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        meter = state["meter"]
        self.meter.names, self.meter.count = tuple(meter["names"]), meter["count"]
        self.meter.sums = meter["sums"].to(self.hardware.device)
        remember_ways(state["ways"])
        torch.set_rng_state(state["rng"])
        if state["rng_cuda"] is not None and self.hardware.device.type == "cuda":
            torch.cuda.set_rng_state(state["rng_cuda"], self.hardware.device)


class Evaluating:
    """``with``: evaluation mode, no gradients; training mode again after it."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.no_grad = torch.no_grad()

    def __enter__(self) -> None:
        self.training.phase = "validate"
        self.training.model.eval()
        self.no_grad.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.no_grad.__exit__(*error)
        self.training.model.train()
        self.training.phase = "train"


def make_optimizer(settings: RunSettings, model: nn.Module) -> torch.optim.Optimizer:
    """The fused optimizer of the settings; betas 0.9 and 0.999 (logbook A), momentum 0.9."""
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=True, **common)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.optimizer]
    return kind(model.parameters(), **common)
