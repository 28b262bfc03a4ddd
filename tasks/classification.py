"""Classify images with ordinary convs or with channel selection (logbook B)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from common.media import Picture, Showing, Table, to_pixels
from data.augment import Augmentation
from data.batches import Batch, RandomParameters
from data.images import ImageData
from data.load import load_data, require_classes
from experiment.settings import ClassifySettings
from models.channel_selection import ChannelSelectionConv2d
from models.classifiers import build_classifier
from models.profile import layer_rows, multiply_adds, parameter_count
from tasks.base import Forward
from tasks.restoration import demo_indices
from training.hardware import Hardware

CHUNK = 500  # validation images a forward pass
MISTAKES = 20  # most confident ones shown


class Classification:
    """Inputs are augmented images around zero, targets their labels.

    Everything is drawn in training only; validation and test see the images as they are, and
    with ``--mirror-eval`` their mirror images too (the mean of both outputs counts).
    """

    loss_name = "loss"
    ends_with_best = True
    metrics = (
        "train/loss", "train/accuracy", "train/lr", "perf/images_per_second",
        "perf/peak_memory_mib", "val/loss", "val/accuracy", "test/loss", "test/accuracy",
        "overfit/epoch", "overfit/val_loss", "overfit/train_loss",
    )  # fmt: skip

    def __init__(self, settings: ClassifySettings, data: ImageData) -> None:
        """Raises ``InputError`` for a data set without two classes with images."""
        require_classes(data)
        self.settings = settings
        self.data = data
        self.augmentation = Augmentation(settings.flip, settings.shift, settings.cutout)

    @classmethod
    def load(cls, settings: ClassifySettings) -> Classification:
        """With the data set of the settings; raises ``InputError`` where it cannot be had."""
        data = load_data(
            settings.data,
            root=Path(settings.data_root).expanduser() if settings.data_root else None,
            size=settings.height_width,
            train_images=settings.train_images,
            val_images=settings.val_images,
            channels=None if settings.model == "small" else 3,
            auto="dog-cat-bird",
        )
        return cls(settings, data)

    def build_model(self) -> nn.Module:
        """The net of the settings for the data at hand. Raises ``InputError`` if there is none."""
        return make_net(self.settings, len(self.data.class_names), self.data.train.images.shape[1])

    def network_facts(self, model: nn.Module) -> tuple[dict[str, Any], Table]:
        """Multiply-adds per image, and how many convs are channel selections."""
        shape = tuple(self.data.train.images.shape[1:])
        selections = sum(isinstance(m, ChannelSelectionConv2d) for m in model.modules())
        facts = {
            "parameters": parameter_count(model),
            "multiply_adds": multiply_adds(model, shape),
            "channel_selections": selections,
        }
        rows = [row for name, block in model.named_children() for row in layer_rows(name, block)]
        columns = ("layer", "kind", "in", "out", "kernel", "parameters")
        return facts, Table("params", columns, rows)

    def sample(self, generator: torch.Generator, n: int) -> RandomParameters:
        return self.augmentation.sample(generator, n, self.settings.height_width)

    def prepare(self, batch: Batch, hardware: Hardware) -> tuple[Tensor, Tensor]:
        return to_input(self.augmentation(batch.images, batch.random), hardware), batch.labels

    def losses(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        smoothing = self.settings.label_smoothing
        return {
            "loss": F.cross_entropy(outputs, targets, label_smoothing=smoothing),
            "accuracy": (outputs.argmax(1) == targets).float().mean(),
        }

    def validate(self, forward: Forward, hardware: Hardware) -> dict[str, float]:
        """``val/loss``: mean cross-entropy (never smoothed); ``val/accuracy``: share correct."""
        outputs = self._outputs(self.data.val.images, forward, hardware)
        return _scores("val", outputs, self.data.val.labels)

    def final(
        self, forward: Forward, hardware: Hardware, history: list[dict[str, float]]
    ) -> dict[str, float]:
        """``test/…`` if the data set has test images, and where overfitting begins."""
        metrics = overfitting(history)
        if self.data.test is not None:
            outputs = self._outputs(self.data.test.images, forward, hardware)
            metrics = _scores("test", outputs, self.data.test.labels) | metrics
        return metrics

    def show(self, forward: Forward, hardware: Hardware, *, final: bool) -> Showing:
        """The demo set with probabilities; its overview frames right ones green, wrong ones red.

        At the end also what is confused with what: the confusion matrix, the accuracy per class and
        the most confident mistakes, of the test images or, without any, of the validation images.
        """
        index = demo_indices(self.data.val.labels)
        images, truths = self.data.val.images[index], self.data.val.labels[index]
        chances = self._outputs(images, forward, hardware).softmax(1).cpu()
        tables = [self._table("predictions", index, images, truths, chances)]
        gallery = [
            replace(picture, caption=f"{i} {truth}, taken for {guess}")
            for i, picture, truth, guess, *_ in tables[0].rows
        ]
        if final:
            tables += self._final_tables(forward, hardware)
        grid = _grid(images, chances.argmax(1) == truths)
        return Showing(tables, gallery, Picture(grid, "overview"))

    def _final_tables(self, forward: Forward, hardware: Hardware) -> list[Table]:
        names, data = self.data.class_names, self.data
        images, truths = data.val.images, data.val.labels
        if data.test is not None:
            images, truths = data.test.images, data.test.labels
        chances = self._outputs(images, forward, hardware).softmax(1).cpu()
        sure, guesses = chances.max(1)
        counts = torch.bincount(truths * len(names) + guesses, minlength=len(names) ** 2)
        counts = counts.view(len(names), len(names))
        confusion = [(n, *row) for n, row in zip(names, counts.tolist(), strict=True)]
        totals, right = counts.sum(1), counts.diagonal()
        classes = [
            (name, int(total), int(hits), round(int(hits) / int(total), 4) if total else None)
            for name, total, hits in zip(names, totals, right, strict=True)
        ]
        wrong = (guesses != truths).nonzero().squeeze(1)
        worst = wrong[sure[wrong].argsort(descending=True, stable=True)][:MISTAKES]
        return [
            Table("confusion", ("truth", *names), confusion),
            Table("classes", ("class", "images", "correct", "accuracy"), classes),
            self._table("mistakes", worst, images[worst], truths[worst], chances[worst]),
        ]

    def _table(
        self, name: str, index: Tensor, images: Tensor, truths: Tensor, chances: Tensor
    ) -> Table:
        """One row an image: index, picture, truth, prediction, probability of each class."""
        names = self.data.class_names
        rows = [
            (
                i, Picture(to_pixels(image / 255), f"{name}-{i}"),
                names[truth], names[int(p.argmax())], *(round(float(x), 4) for x in p),
            )
            for i, image, truth, p in zip(
                index.tolist(), images, truths.tolist(), chances, strict=True
            )
        ]  # fmt: skip
        columns = ("index", "picture", "truth", "prediction", *(f"p_{n}" for n in names))
        return Table(name, columns, rows)

    def _outputs(self, images: Tensor, forward: Forward, hardware: Hardware) -> Tensor:
        return outputs_of(images, forward, hardware, mirror=self.settings.mirror_eval)


def overfitting(history: list[dict[str, float]]) -> dict[str, float]:
    """The validation of least loss: its epoch, its loss, and the training loss since the one
    before it (logbook B, "train loss at min test loss").
    """
    lowest: dict[str, float] = {}
    losses: list[float] = []
    for row in history:
        if "train/loss" in row:
            losses.append(row["train/loss"])
        if "val/loss" in row:
            if not lowest or row["val/loss"] < lowest["overfit/val_loss"]:
                lowest = {
                    "overfit/epoch": row["epoch"],
                    "overfit/val_loss": row["val/loss"],
                    "overfit/train_loss": sum(losses) / len(losses),
                }
            losses = []
    return lowest


def make_net(settings: ClassifySettings, classes: int, channels: int) -> nn.Module:
    """The net of ``settings``; raises ``InputError`` for a net that cannot be made or fed."""
    return build_classifier(
        settings.model,
        classes=classes,
        shape=(channels, *settings.height_width),
        conv=settings.conv,
        rank=settings.rank,
        dropout=settings.dropout,
    )


def to_input(images: Tensor, hardware: Hardware) -> Tensor:
    """uint8 [n c h w] to floats in [-2, 2], about the spread of natural images around zero."""
    return hardware.to_float(images).sub_(0.5).mul_(4)


def outputs_of(
    images: Tensor, forward: Forward, hardware: Hardware, *, mirror: bool
) -> Tensor:
    """Logits [n classes] on the device; with ``mirror`` the mean with the mirror images'."""
    outputs = []
    for chunk in images.split(CHUNK):
        inputs = to_input(chunk, hardware)
        logits = forward(inputs)
        outputs.append((logits + forward(inputs.flip(3))) / 2 if mirror else logits)
    return torch.cat(outputs).float()


def _scores(split: str, outputs: Tensor, labels: Tensor) -> dict[str, float]:
    labels = labels.to(outputs.device)
    loss = F.cross_entropy(outputs, labels)
    accuracy = (outputs.argmax(1) == labels).float().mean()
    loss, accuracy = torch.stack([loss, accuracy]).tolist()
    return {f"{split}/loss": loss, f"{split}/accuracy": accuracy}


def _grid(images: Tensor, right: Tensor) -> np.ndarray:
    """uint8 [n c h w] to one picture, five to a row, the frame green where ``right`` else red."""
    n, _, height, width = images.shape
    green, red = torch.tensor([0, 0.7, 0]), torch.tensor([0.9, 0, 0])
    framed = torch.where(right[:, None], green, red)[:, :, None, None]
    framed = framed.repeat(1, 1, height + 4, width + 4)
    framed[:, :, 2:-2, 2:-2] = images / 255
    blank = framed.new_ones(-n % 5, *framed.shape[1:])
    return to_pixels(
        rearrange(torch.cat([framed, blank]), "(rows five) c h w -> c (rows h) (five w)", five=5)
    )
