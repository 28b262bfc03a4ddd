"""Classify images with ordinary convs or with channel selection (logbook B)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import InputError
from common.media import Examples, Picture, Table, grid, to_pixels
from data.augment import Augmentation
from data.batches import Batch, RandomParameters
from data.images import ImageData, Split, to_float
from data.load import load_data, require_classes
from models.channel_selection import ChannelSelectionConv2d
from models.profile import describe
from models.registry import NETS, ClassifierSettings, NetSettings
from tasks.base import Forward, Part, Sample, Task, demo_indices, evaluate
from tasks.metrics import CLASSIFICATION
from tasks.settings import ClassificationSettings

CHUNK = 500  # validation images a forward pass
MISTAKES = 20  # most confident ones shown
NO_MASK = torch.empty(0, dtype=torch.bool)
GREEN, RED = (0, 179, 0), (230, 0, 0)  # frames of right and wrong predictions


class Classification(Task):
    """Inputs are augmented images around zero, targets their labels.

    Images are augmented in training only. With ``--mirror-eval`` validation and test use the mean
    output for each image and its mirror image.
    """

    name = "classification"
    loss_name = "loss"
    ends_with_best = True
    metrics = (
        "train/loss", "train/accuracy", "train/grad_norm", "train/lr", "perf/images_per_second",
        "perf/peak_memory_mib",
        *(f"{split}/{metric.name}" for split in ("val", "test") for metric in CLASSIFICATION),
        "overfit/epoch", "overfit/val_loss", "overfit/train_loss",
    )  # fmt: skip

    def __init__(
        self, net: ClassifierSettings, options: ClassificationSettings, data: ImageData
    ) -> None:
        """Raises ``InputError`` for a data set without two classes with images."""
        require_classes(data)
        self.net_settings, self.options, self.data = net, options, data
        self.objective = options.objective
        self.augmentation = Augmentation(options.flip, options.shift, options.cutout)

    @classmethod
    def load(cls, settings: Any) -> Classification:
        channels = None if settings.net.model == "small" else 3
        data = load_data(settings.data, channels=channels, auto="dog-cat-bird")
        return cls(settings.net, settings.task, data)

    def build_net(self) -> nn.Module:
        shape = tuple(self.data.train.images.shape[1:])
        return build_net(self.net_settings, len(self.data.class_names), shape)

    def describe_net(self, net: nn.Module) -> tuple[dict[str, Any], Table]:
        """Parameters, multiply-adds per image, number of channel selections, rows per layer."""
        stats, table = describe(net, tuple(self.data.train.images.shape[1:]))
        selections = sum(isinstance(m, ChannelSelectionConv2d) for m in net.modules())
        return stats | {"channel_selections": selections}, table

    def sample_parameters(self, generator: torch.Generator, n: int) -> RandomParameters:
        height, width = self.data.train.images.shape[2:]
        return self.augmentation.sample(generator, n, (height, width))

    def prepare(self, batch: Batch) -> Sample:
        images = self.augmentation(batch.images, batch.random)
        return Sample(to_input(images), batch.labels, NO_MASK)

    def losses(self, outputs: Tensor, sample: Sample) -> dict[str, Tensor]:
        smoothing = self.options.label_smoothing
        return {
            "loss": F.cross_entropy(outputs, sample.targets, label_smoothing=smoothing),
            "accuracy": (outputs.argmax(1) == sample.targets).float().mean(),
        }

    def validate(self, forward: Forward, device: torch.device) -> dict[str, float]:
        return evaluate(CLASSIFICATION, self._parts(self.data.val, forward, device), "val")

    def final(
        self, forward: Forward, device: torch.device, history: list[dict[str, float]]
    ) -> dict[str, float]:
        """``test/…`` if the data set has test images, and where overfitting begins."""
        metrics = overfitting(history)
        if self.data.test is None:
            return metrics
        parts = self._parts(self.data.test, forward, device)
        return evaluate(CLASSIFICATION, parts, "test") | metrics

    def _parts(self, split: Split, forward: Forward, device: torch.device) -> Iterator[Part]:
        logits = logits_of(split.images, forward, device, mirror=self.options.mirror_eval)
        for part, labels in zip(logits.split(CHUNK), split.labels.split(CHUNK), strict=True):
            yield part, labels.to(device), NO_MASK

    def _probabilities(self, split: Split, forward: Forward, device: torch.device) -> Tensor:
        mirror = self.options.mirror_eval
        return logits_of(split.images, forward, device, mirror=mirror).softmax(1).cpu()

    def examples(self, forward: Forward, device: torch.device, *, final: bool) -> Examples:
        """The demo images with probabilities; right ones framed green, wrong ones red.

        At the end also the confusion matrix, the accuracy per class and the most confident
        mistakes, of the test images or, without any, of the validation images.
        """
        index = demo_indices(self.data.val.labels)
        demo = Split(self.data.val.images[index], self.data.val.labels[index])
        probabilities = self._probabilities(demo, forward, device)
        tables = [self._table("predictions", index, demo, probabilities)]
        gallery = [
            replace(picture, caption=f"{i} {truth}, predicted as {guess}")
            for i, picture, truth, guess, *_ in tables[0].rows
        ]
        if final:
            tables += self._final_tables(forward, device)
        right = (probabilities.argmax(1) == demo.labels).tolist()
        framed = [
            _framed(picture.pixels, GREEN if hit else RED)
            for picture, hit in zip(gallery, right, strict=True)
        ]
        return Examples(tables, gallery, Picture(grid(framed, columns=5), "overview"))

    def _final_tables(self, forward: Forward, device: torch.device) -> list[Table]:
        names, split = self.data.class_names, self.data.test or self.data.val
        truths, probabilities = split.labels, self._probabilities(split, forward, device)
        confidence, predictions = probabilities.max(1)
        counts = torch.bincount(truths * len(names) + predictions, minlength=len(names) ** 2)
        counts = counts.view(len(names), len(names))
        confusion = [(n, *row) for n, row in zip(names, counts.tolist(), strict=True)]
        totals, right = counts.sum(1), counts.diagonal()
        classes = [
            (name, int(total), int(hits), round(int(hits) / int(total), 4) if total else None)
            for name, total, hits in zip(names, totals, right, strict=True)
        ]
        wrong = (predictions != truths).nonzero().squeeze(1)
        worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:MISTAKES]
        mistakes = Split(split.images[worst], truths[worst])
        return [
            Table("confusion", ("truth", *names), confusion),
            Table("classes", ("class", "images", "correct", "accuracy"), classes),
            self._table("mistakes", worst, mistakes, probabilities[worst]),
        ]

    def _table(self, name: str, index: Tensor, split: Split, probabilities: Tensor) -> Table:
        """One row an image: index, picture, truth, prediction, probability of each class."""
        names = self.data.class_names
        rows = [
            (
                i, Picture(to_pixels(image / 255), f"{name}-{i}"),
                names[truth], names[int(p.argmax())], *(round(float(x), 4) for x in p),
            )
            for i, image, truth, p in zip(
                index.tolist(), split.images, split.labels.tolist(), probabilities, strict=True
            )
        ]  # fmt: skip
        columns = ("index", "picture", "truth", "prediction", *(f"p_{n}" for n in names))
        return Table(name, columns, rows)


def overfitting(history: list[dict[str, float]]) -> dict[str, float]:
    """The validation of least loss: its epoch, its loss, and the mean training loss since the
    validation before it, weighted by steps (logbook B, "train loss at min test loss").
    """
    lowest: dict[str, float] = {}
    total, steps, last_step = 0.0, 0.0, 0.0
    for row in history:
        if "train/loss" in row:
            total += row["train/loss"] * (row["step"] - last_step)
            steps += row["step"] - last_step
            last_step = row["step"]
        if "val/loss" in row:
            if steps and (not lowest or row["val/loss"] < lowest["overfit/val_loss"]):
                lowest = {
                    "overfit/epoch": row["epoch"],
                    "overfit/val_loss": row["val/loss"],
                    "overfit/train_loss": total / steps,
                }
            total, steps = 0.0, 0.0
    return lowest


def build_net(settings: NetSettings, classes: int, shape: tuple[int, ...]) -> nn.Module:
    """The classifier of ``settings`` for images of ``shape`` [c h w].

    Raises ``InputError`` for a net that cannot be made or fed.
    """
    constructor = resolve_name(NETS["classify"].path)
    try:
        return constructor(classes=classes, shape=shape, **settings.arguments())
    except ValueError as error:  # names the argument, which is the option's name
        raise InputError(f"--{error}") from None


def to_input(images: Tensor, device: torch.device | None = None) -> Tensor:
    """uint8 [n c h w] to floats in [-2, 2], about the spread of natural images around zero."""
    return scaled(to_float(images, device))


def scaled(images: Tensor) -> Tensor:
    """Values in [0, 1] to [-2, 2]."""
    return (images - 0.5) * 4


def with_mirror(forward: Forward, inputs: Tensor, mirror: bool) -> Tensor:
    """Logits; with ``mirror`` the mean with those of the mirror images."""
    logits = forward(inputs)
    return (logits + forward(inputs.flip(3))) / 2 if mirror else logits


def logits_of(images: Tensor, forward: Forward, device: torch.device, *, mirror: bool) -> Tensor:
    """Logits [n classes] on the device; with ``mirror`` the mean with the mirror images'."""
    outputs = []
    for chunk in images.split(CHUNK):
        outputs.append(with_mirror(forward, to_input(chunk, device), mirror))
    return torch.cat(outputs).float()


def _framed(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """uint8 [h w] or [h w 3] with a frame of two pixels: [h+4 w+4 3]."""
    return np.asarray(ImageOps.expand(Image.fromarray(pixels).convert("RGB"), 2, colour))
