"""The training step, and the state that a run resumes from."""

import copy
from typing import Any

import torch
from torch import Tensor

from common.errors import InputError, RunError
from data.batches import BatchStream
from training.base import BaseTrainer, Row, Stopwatch
from training.checks import LearningCheck
from training.cuda_graphs import record
from training.optimizers import clip_gradients, learning_rate, make_optimizer


class NonFiniteLoss(RunError):
    """The loss became NaN or infinite; no weight was changed by that step or any after it."""


class Meter:
    """Sums of scalars, kept on the device; reading them is the interval's only sync."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: tuple[str, ...] = ()
        self.sums = torch.zeros(0, device=device)
        self.count = 0

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Add one step's scalars: those that the interval began with."""
        if not self.count:
            self.names = tuple(scalars)
            self.sums = torch.zeros(len(scalars), device=self.device)
        self.sums += torch.stack([scalars[name].detach() for name in self.names])
        self.count += 1

    def read(self) -> dict[str, float]:
        """Means since the last reading; one host-device sync. Resets the sums."""
        means = (self.sums / max(self.count, 1)).tolist()
        self.count = 0
        return dict(zip(self.names, means, strict=True))


class Trainer(BaseTrainer):
    """A net, its optimizer and its batches; ``step`` counts the steps done."""

    def _set_up(self) -> None:
        task, settings, device = self.task, self.settings, self.hardware.device
        self.trained_net = self.ranks.wrap_ddp(self.compiled_net)
        self.optimizer = make_optimizer(settings, self.net)
        # Fused optimizers skip a step on the device where this is 1: no sync to watch the loss.
        self.found_inf = torch.zeros((), device=device)
        self.skipped_steps = torch.zeros((), device=device)
        self.optimizer.found_inf = self.found_inf  # pyright: ignore[reportAttributeAccessIssue]
        train = task.data.train
        self.stream = BatchStream(
            train.images.to(device),
            train.labels.to(device),
            batch_size=settings.batch_size,
            seed=settings.seed,
            sample=task.sample_parameters,
            shard=(self.ranks.rank, self.ranks.size),
        )
        budget = settings.total_images(len(train))
        self.steps, self.step_images = budget // settings.batch_size, settings.batch_size
        if not self.steps:
            raise InputError(
                f"--batch-size {settings.batch_size}: a budget of {budget} training images is "
                f"less than one batch, for example --batch-size {budget}"
            )
        self.meter = Meter(device)
        self.interval_start = 0
        self.learning: LearningCheck | None = None  # from the first step to the first validation
        if settings.batch_size // self.ranks.size == 1:
            self._check_single_image()
        if self.hardware.cuda_graphs and self.ranks.size == 1:
            inputs = task.prepare(self.stream.batch(0)).inputs
            self.trained_net = record(self.net, inputs, self.hardware)

    def _check_single_image(self) -> None:
        """Raises ``InputError`` where batch norm cannot train on one image at a time."""
        sample = self.task.prepare(self.stream.batch(0))
        try:
            with torch.no_grad():
                copy.deepcopy(self.net).train()(sample.inputs[:1])
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                f"--batch-size {self.settings.batch_size}: batch norm needs more than one value a "
                "channel, and feature maps shrink to one pixel, for example --batch-size "
                f"{2 * self.ranks.size}"
            ) from None

    def train_step(self) -> None:
        """Batch, forward, loss, backward, update. No value is read back here."""
        if self.timer.since is None:
            self.interval_start = self.step
            self.timer.start()
        if self.step == 0:
            self.learning = LearningCheck(self.net)
        self.ranks.seed(self.settings.seed, self.step)
        sample = self.task.prepare(self.stream.batch(self.step))
        with self.hardware.autocast():
            outputs = self.trained_net(sample.inputs)
        losses = self.task.losses(outputs.float(), sample)
        part = len(sample.inputs), self.settings.batch_size
        self.ranks.scale_loss(next(iter(losses.values())), *part).backward()
        if self.learning:
            self.learning.after_backward()
        norm = clip_gradients(self.net, self.settings.clip_norm)
        losses = self.ranks.mean(losses, *part)
        self.found_inf.logical_or_(~next(iter(losses.values())).detach().isfinite())
        self.skipped_steps += self.found_inf
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step, muon="muon" in group)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.meter.add(losses | {"grad_norm": norm})
        self.step += 1

    def validate(self) -> Row:
        """Validate; before the first validation, warn of parameters that have not learnt."""
        if self.learning:
            if not self.ranks.rank:
                self.learning.report()
            self.learning = None
        return super().validate()

    def learning_rate(self, step: int, *, muon: bool = False) -> float:
        """The rate of ``step``; with ``muon`` that of the kernels that Muon updates."""
        settings = self.settings
        highest = settings.muon_lr if muon else settings.lr
        return learning_rate(settings.scheduler, highest, step, self.steps, fall=settings.fall)

    def read_row(self) -> Row:
        """Means since the last row, rate and speed. The only host-device sync of the interval.

        Raises ``NonFiniteLoss`` if the loss became NaN or infinite in it.
        """
        means = self.meter.read()
        spent = self.timer.stop()
        self.check_finite()
        steps = self.step - self.interval_start
        if self.settings.minutes:
            used = self.timer.seconds + self.validation_timer.seconds
            left = max(60 * self.settings.minutes - used, 0.0)
            self.steps = self.ranks.broadcast(self.step + int(left * steps / spent))
        means["lr"] = self.optimizer.param_groups[0]["lr"]
        row = {f"train/{name}": value for name, value in means.items()}
        return row | self.progress(steps * self.step_images, spent)

    def check_finite(self) -> None:
        """Raises ``NonFiniteLoss`` if the loss was NaN or infinite since the run began."""
        count = int(self.skipped_steps.item())
        if count:
            step = self.step - count
            rate = self.learning_rate(step)
            raise NonFiniteLoss(
                f"the loss became NaN or infinite at step {step + 1} of {self.steps} (learning "
                f"rate {rate:.3g}); the weights are those before it; lower --lr"
            )

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, as tensors and plain values.

        Raises ``NonFiniteLoss`` for a loss, weights or batch statistics that are not finite: such a
        state must not replace a good checkpoint.
        """
        self.check_finite()
        self._check_weights()
        cuda = self.hardware.device.type == "cuda"
        return {
            "step": self.step,
            "steps": self.steps,
            "seconds": self.timer.seconds,
            "validation_seconds": self.validation_timer.seconds,
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "meter": {
                "names": list(self.meter.names),
                "sums": self.meter.sums,
                "count": self.meter.count,
            },
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(self.hardware.device) if cuda else None,
        }

    def _check_weights(self) -> None:
        values = self.net.state_dict()
        finite = {k: v.isfinite().all() for k, v in values.items() if v.is_floating_point()}
        if not torch.stack(list(finite.values())).all():
            name = next(name for name, good in finite.items() if not good)
            raise NonFiniteLoss(
                f"{name} became NaN or infinite by step {self.step} of {self.steps}; lower --lr"
            )

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue exactly from what ``state()`` gave, also at commit 73bab81."""
        self.step = self.interval_start = state["step"]
        self.steps = state.get("steps", self.steps)
        self.timer = Stopwatch(state["seconds"])
        self.validation_timer = Stopwatch(state.get("validation_seconds", 0.0))
        self.net.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        meter = state["meter"]
        self.meter.names, self.meter.count = tuple(meter["names"]), meter["count"]
        self.meter.sums = meter["sums"].to(self.hardware.device)
        torch.set_rng_state(state["rng"])
        if state["rng_cuda"] is not None and self.hardware.device.type == "cuda":
            torch.cuda.set_rng_state(state["rng_cuda"], self.hardware.device)
