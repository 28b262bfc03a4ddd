"""Restore damaged images (logbook A: the erased half)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.log import log
from common.media import OVERVIEW_COLUMNS, Examples, Picture, Table, grid, to_pixels
from data.batches import Batch, RandomParameters
from data.images import ImageData, to_float
from data.load import load_data
from models.profile import describe
from models.registry import NETS, NetSettings
from tasks.base import Forward, Part, Sample, Task, demo_indices, evaluate
from tasks.metrics import RESTORATION
from tasks.registry import make_corruption
from tasks.settings import RestorationSettings

CHUNK = 250  # validation images a forward pass
ROUNDING = 0.01  # allowed outside of [0, 1]


class Restoration(Task):
    """Inputs are damaged images, targets the whole ones.

    In training the damage is sampled per image and epoch; in validation it is fixed per image
    index, so that all runs compare image by image.
    """

    name = "restoration"
    ends_with_best = False  # as the logbook: its validation images are the test images

    def __init__(
        self, command: str, net: NetSettings, options: RestorationSettings, data: ImageData
    ) -> None:
        self.command, self.net_settings, self.options, self.data = command, net, options, data
        self.corruption = make_corruption(options.corruption)
        self._check_corruption()
        self.warned = False
        self.loss_name, self.objective = options.loss, options.objective
        losses = ("train/l1",) if self.loss_name == "l1" else ("train/l2", "train/l1")
        self.metrics = (
            *losses, "train/grad_norm", "train/lr",
            "perf/images_per_second", "perf/peak_memory_mib",
            *(f"val/{metric.name}" for metric in RESTORATION),
        )  # fmt: skip

    def _check_corruption(self) -> None:
        """Raises ``ValueError`` if the corruption gives other shapes or types than it must."""
        images = to_float(self.data.val.images[:2])
        damaged, mask = self.corruption(images, self.corruption.fixed(len(images)))
        n, _, *size = images.shape
        expected = images.shape, torch.Size((n, 1, *size)), torch.bool
        if (damaged.shape, mask.shape, mask.dtype) != expected:
            raise ValueError(
                f"{self.options.corruption}: {tuple(damaged.shape)} and a {mask.dtype} mask of "
                f"{tuple(mask.shape)} for images of {tuple(images.shape)}; the mask is bool "
                "[n 1 h w]"
            )

    @classmethod
    def load(cls, settings: Any) -> Restoration:
        data = load_data(settings.data)
        return cls(settings.command, settings.net, settings.task, data)

    def build_net(self) -> nn.Module:
        channels, height, width = self.data.train.images.shape[1:]
        size = height, width
        return build_net(self.command, self.net_settings, self.options, channels, size)

    def describe_net(self, net: nn.Module) -> tuple[dict[str, Any], Table]:
        """Parameters, multiply-adds per image, receptive field in pixels, and rows per layer."""
        channels, *size = self.data.train.images.shape[1:]
        return describe(net, (channels + extra_channels(self.options), *size))

    def sample_parameters(self, generator: torch.Generator, n: int) -> RandomParameters:
        return {"corruption": self.corruption.sample(generator, n)}

    def prepare(self, batch: Batch) -> Sample:
        return self._sample(to_float(batch.images), batch.random["corruption"])

    def _sample(self, targets: Tensor, random: Tensor) -> Sample:
        damaged, mask = self.corruption(targets, random)
        return Sample(net_inputs(damaged, mask, self.options), targets, mask)

    def losses(self, outputs: Tensor, sample: Sample) -> dict[str, Tensor]:
        targets, mask = sample.targets, sample.mask
        if outputs.shape != targets.shape:
            shapes = f"outputs {tuple(outputs.shape)} for images {tuple(targets.shape)}"
            raise ValueError(f"{self.command}: {shapes}")
        if self.options.composite:
            outputs = outputs.where(mask, sample.inputs[:, : targets.shape[1]])
        if self.options.loss_region == "corrupted":
            share = mask.float().mean().clamp(min=1 / mask.numel())  # nothing damaged: loss 0
            outputs, targets = outputs * mask, targets * mask
        else:
            share = 1.0
        l1 = F.l1_loss(outputs, targets) / share
        if self.loss_name == "l1":
            return {"l1": l1}
        return {"l2": F.mse_loss(outputs, targets) / share, "l1": l1}

    def validate(self, forward: Forward, device: torch.device) -> dict[str, float]:
        parts = self.outputs(forward, device)
        return evaluate(RESTORATION, parts if self.warned else self._in_range(parts), "val")

    def _in_range(self, parts: Iterable[Part]) -> Iterator[Part]:
        """``parts`` as they are; warns after the last of outputs for which PSNR means nothing."""
        extremes = []
        for part in parts:
            extremes.append(torch.stack(part[0].aminmax()))
            yield part
        low, high = torch.stack(extremes).unbind(1)
        lowest, highest = torch.stack([low.min(), high.max()]).tolist()
        self.warned = lowest < -ROUNDING or highest > 1 + ROUNDING
        if self.warned:
            log.warning(
                f"the net's outputs run from {lowest:.3g} to {highest:.3g}, images from 0 to 1: "
                "end the net in a sigmoid or a clamp"
            )

    def outputs(self, forward: Forward, device: torch.device) -> Iterator[Part]:
        """Outputs, targets and masks of the validation images, each under its fixed damage."""
        images = self.data.val.images
        random = self.corruption.fixed(len(images))
        for chunk, values in zip(images.split(CHUNK), random.split(CHUNK), strict=True):
            sample = self._sample(to_float(chunk, device), values.to(device))
            yield forward(sample.inputs), sample.targets, sample.mask

    def examples(self, forward: Forward, device: torch.device, *, final: bool) -> Examples:
        """The demo images: input, output, target and error (|output - target|) side by side."""
        index = demo_indices(self.data.val.labels)
        random = self.corruption.demo(len(index))
        targets = to_float(self.data.val.images[index], device)
        sample = self._sample(targets, random.to(device))
        inputs = sample.inputs[:, : targets.shape[1]]
        outputs = forward(sample.inputs)
        if self.options.composite:
            outputs = outputs.where(sample.mask, inputs)
        errors = (outputs - targets).abs()
        mask = sample.mask.expand_as(errors)
        whole = errors.mean(dim=(1, 2, 3)).tolist()
        damaged = ((errors * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3))).tolist()
        kinds = {"input": inputs, "output": outputs, "target": targets, "error": errors}
        rows, gallery = [], []
        for row, i in enumerate(index.tolist()):
            label = self.data.class_names[int(self.data.val.labels[i])]
            damage = self.corruption.describe(int(random[row]))
            cells = [Picture(to_pixels(x[row]), f"{i}-{kind}") for kind, x in kinds.items()]
            rows.append((i, label, damage, *cells, whole[row], damaged[row]))
            strip = to_pixels(torch.cat([x[row] for x in kinds.values()], dim=-1))
            caption = f"{i} {label}, {damage}: input, output, target, error, L1 {whole[row]:.4f}"
            gallery.append(Picture(strip, f"{i}-strip", caption))
        columns = ("index", "class", "damage", *kinds, "l1", "l1_erased")
        pictures = [picture.pixels for picture in gallery]
        overview = Picture(grid(pictures, OVERVIEW_COLUMNS), "overview")
        return Examples([Table("reconstructions", columns, rows)], gallery, overview)


def build_net(
    command: str,
    net: NetSettings,
    options: RestorationSettings,
    image_channels: int,
    size: tuple[int, int],
) -> nn.Module:
    """The restoration net of ``command`` for images of ``size``, freshly initialised."""
    entry = NETS[command]
    arguments = net.arguments() | ({"size": size} if entry.sized else {})
    return resolve_name(entry.path)(
        image_channels=image_channels, extra_channels=extra_channels(options), **arguments
    )


def extra_channels(options: RestorationSettings) -> int:
    """How many input channels the net gets beside the image's."""
    return options.mask_input + 2 * options.coordinates


def net_inputs(damaged: Tensor, mask: Tensor, options: RestorationSettings) -> Tensor:
    """Damaged images [n c h w] with the channels that the options add.

    The mask is 1 where a pixel is damaged; rows and columns run from -1 to 1.
    """
    parts = [damaged]
    if options.mask_input:
        parts.append(mask.to(damaged.dtype))
    if options.coordinates:
        n, _, height, width = damaged.shape
        row = torch.linspace(-1, 1, height, device=damaged.device).view(1, 1, -1, 1)
        column = torch.linspace(-1, 1, width, device=damaged.device).view(1, 1, 1, -1)
        parts += [row.expand(n, 1, height, width), column.expand(n, 1, height, width)]
    if len(parts) == 1:
        return damaged
    return torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)
