"""Metrics: what validation and test measure, with direction and format. Imports no torch.

To add a metric, write a function of (outputs, targets, mask) and add its line to the task's list.
The function gives, for each image, a sum and the number of terms in it, both [n]: a metric over a
data set is the ratio of the two totals, so that parts of images count by their size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    PerImage = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

Goal = Literal["minimize", "maximize"]
MAX_PSNR = 100.0  # dB; an image restored exactly counts as this, not as infinite


@dataclass(frozen=True)
class Metric:
    """``name`` without the split's prefix (``val/``, ``test/``), direction, format, function.

    ``description`` gives the unit; it becomes a row of docs/metrics.md.
    """

    name: str
    goal: Goal
    format: str
    per_image: PerImage
    description: str


def _all_pixels(error: Tensor) -> tuple[Tensor, Tensor]:
    per_image = error.flatten(1)
    return per_image.sum(1), per_image.new_full((len(per_image),), per_image.shape[1])


def _where(error: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    mask = mask.expand_as(error)
    return (error * mask).flatten(1).sum(1), mask.flatten(1).sum(1)


def l1(outputs: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return _all_pixels((outputs - targets).abs())


def l1_erased(outputs: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return _where((outputs - targets).abs(), mask)


def l1_kept(outputs: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return _where((outputs - targets).abs(), ~mask)


def l1_composite(outputs: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return _all_pixels((outputs - targets).abs() * mask)


def mse(outputs: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return _all_pixels((outputs - targets).square())


def psnr(outputs: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Per image, for values in [0, 1], at most ``MAX_PSNR``."""
    squared = (outputs - targets).double().square().flatten(1).mean(1)
    decibels = squared.clamp(min=10 ** (-MAX_PSNR / 10)).log10() * -10
    return decibels, decibels.new_ones(len(decibels))


def ssim(outputs: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Per image, for values in [0, 1]: Gaussian window of 11 pixels, sigma 1.5 (Wang et al. 2004).

    Equal to torchmetrics, whose import would take longer than a short run.
    """
    from torch import arange, cat
    from torch.nn.functional import conv2d, pad

    size, sigma, c1, c2 = 11, 1.5, 0.01**2, 0.03**2
    distance = arange(size, dtype=outputs.dtype, device=outputs.device) - size // 2
    gauss = (-(distance / sigma).square() / 2).exp()
    gauss = (gauss / gauss.sum())[:, None]
    channels = outputs.shape[1]
    window = (gauss @ gauss.mT).expand(channels, 1, size, size)
    x, y = (pad(images, (size // 2,) * 4, mode="reflect") for images in (outputs, targets))
    means = conv2d(cat((x, y, x * x, y * y, x * y)), window, groups=channels)
    x_mean, y_mean, xx, yy, xy = means.chunk(5)
    x_var = (xx - x_mean.square()).clamp(min=0)
    y_var = (yy - y_mean.square()).clamp(min=0)
    covariance = xy - x_mean * y_mean
    luminance = (2 * x_mean * y_mean + c1) / (x_mean.square() + y_mean.square() + c1)
    per_image = luminance * (2 * covariance + c2) / (x_var + y_var + c2)
    return per_image.flatten(1).mean(1), per_image.new_ones(len(per_image))


def of_composite(per_image: PerImage) -> PerImage:
    """The metric of the outputs with every undamaged pixel replaced by the (known) true one."""
    return lambda outputs, targets, mask: per_image(outputs.where(mask, targets), targets, mask)


def cross_entropy(outputs: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Never smoothed."""
    per_image = -outputs.log_softmax(1).gather(1, targets[:, None]).squeeze(1)
    return per_image, per_image.new_ones(len(per_image))


def accuracy(outputs: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    correct = (outputs.argmax(1) == targets).float()
    return correct, correct.new_ones(len(correct))


RESTORATION = [
    Metric("l1", "minimize", ".5f", l1, "mean absolute error over all pixels (the logbook's)"),
    Metric("l1_erased", "minimize", ".5f", l1_erased, "the same over the damaged pixels"),
    Metric("l1_kept", "minimize", ".5f", l1_kept, "the same over the undamaged pixels"),
    Metric(
        "l1_composite", "minimize", ".5f", l1_composite,
        "over all pixels, the undamaged ones copied from the input",
    ),
    Metric("mse", "minimize", ".6f", mse, "mean squared error over all pixels"),
    Metric("psnr", "maximize", ".2f", psnr, "dB, mean over images, at most 100 an image"),
    Metric("ssim", "maximize", ".4f", ssim, "structural similarity, mean over images"),
    Metric("psnr_composite", "maximize", ".2f", of_composite(psnr), "PSNR of the composite"),
    Metric("ssim_composite", "maximize", ".4f", of_composite(ssim), "SSIM of the composite"),
]  # fmt: skip
CLASSIFICATION = [
    Metric("loss", "minimize", ".4f", cross_entropy, "mean cross-entropy, never smoothed"),
    Metric("accuracy", "maximize", ".4f", accuracy, "share of correct predictions"),
]
OF_TASK = {"restoration": RESTORATION, "classification": CLASSIFICATION}


def find(key: str) -> Metric | None:
    """The metric of a key such as ``val/l1``, or None for what is no metric of an evaluation."""
    name = key.rpartition("/")[2]
    return next((m for metrics in OF_TASK.values() for m in metrics if m.name == name), None)


def goal_of(key: str) -> Goal:
    """The direction of any key; what is no known metric, nor a speed, is minimized like a loss."""
    metric = find(key)
    if metric:
        return metric.goal
    return "maximize" if key.endswith("images_per_second") else "minimize"


def optimizable(task: str) -> list[str]:
    """The keys that a sweep of ``task`` may optimise."""
    splits = ("val",) if task == "restoration" else ("val", "test")
    return [f"{split}/{metric.name}" for split in splits for metric in OF_TASK[task]]


def format_value(key: str, value: float | None) -> str:
    """``value`` in its metric's format; blank where there is none."""
    metric = find(key)
    if value is None or math.isnan(value):
        return ""
    return format(value, metric.format if metric else ".5g")
