"""Restore the erased half of an image (logbook A)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from common.media import Picture, Showing, Table, to_pixels
from data.batches import Batch, RandomParameters
from data.images import ImageData
from data.load import load_data
from experiment.settings import ResConvSettings
from models.profile import layer_rows, multiply_adds, parameter_count
from models.resconv import ResConv, receptive_fields
from tasks.base import Forward
from tasks.corruptions import SIDES, erase, erased_mask, fixed_sides
from training.hardware import Hardware

CHUNK = 250  # validation images a forward pass
DEMO_IMAGES = 20


class Restoration:
    """Inputs are images with one half set to 0, targets the whole images.

    In training the side is drawn per image and epoch; in validation it is fixed per image index
    (``tasks.corruptions.fixed_sides``), so that all runs ever made compare image by image.
    """

    ends_with_best = False  # as the logbook: its validation images are the test images
    metrics = (
        "train/l1", "train/lr", "perf/images_per_second", "perf/peak_memory_mib",
        "val/l1", "val/l1_erased", "val/mse", "val/psnr", "val/ssim",
    )  # fmt: skip

    def __init__(self, settings: ResConvSettings, data: ImageData) -> None:
        self.settings = settings
        self.data = data
        self.loss_name = settings.loss
        if settings.loss == "l2":
            self.metrics = ("train/l2", *self.metrics)

    @classmethod
    def load(cls, settings: ResConvSettings) -> Restoration:
        """With the data set of the settings; raises ``InputError`` where it cannot be had."""
        root = Path(settings.data_root).expanduser() if settings.data_root else None
        data = load_data(
            settings.data,
            root=root,
            size=settings.height_width,
            train_images=settings.train_images,
            val_images=settings.val_images,
        )
        return cls(settings, data)

    def build_model(self) -> ResConv:
        """The net of the settings; its parameters count as the logbook's."""
        return ResConv(**model_arguments(self.settings, self.data.train.images.shape[1]))

    def network_facts(self, model: ResConv) -> tuple[dict[str, Any], Table]:
        """Receptive field in pixels, multiply-adds per image, kernels and channels per layer."""
        shape = (model.image_channels, *self.settings.height_width)
        fields = receptive_fields(model.kernels, model.stride, model.paddings)
        facts = {
            "parameters": parameter_count(model),
            "receptive_field": fields[-1],
            "multiply_adds": multiply_adds(model, shape),
            "kernels": model.kernels,
            "channels": model.channels,
        }
        blocks = [(f"encoder.{n}", b) for n, b in enumerate(model.encoder)]
        blocks += [(f"decoder.{n}", b) for n, b in enumerate(model.decoder)]
        rows = [
            (*row, field)
            for (name, block), field in zip(blocks, fields, strict=True)
            for row in layer_rows(name, block)
        ]
        columns = ("layer", "kind", "in", "out", "kernel", "parameters", "receptive_field")
        return facts, Table("params", columns, rows)

    def sample(self, generator: torch.Generator, n: int) -> RandomParameters:
        return {"sides": torch.randint(len(SIDES), (n,), generator=generator)}

    def prepare(self, batch: Batch, hardware: Hardware) -> tuple[Tensor, Tensor]:
        targets = hardware.to_float(batch.images)
        return erase(targets, batch.random["sides"]), targets

    def losses(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        l1 = F.l1_loss(outputs, targets)
        if self.loss_name == "l1":
            return {"l1": l1}
        return {"l2": F.mse_loss(outputs, targets), "l1": l1}

    def validate(self, forward: Forward, hardware: Hardware) -> dict[str, float]:
        """``val/l1`` and ``val/mse``: mean over all pixels of the whole image; ``val/l1_erased``:
        over the erased pixels; ``val/psnr`` (dB) and ``val/ssim`` (Gaussian window of 11 pixels,
        sigma 1.5): per image for values in [0, 1], then the mean over images.
        """
        images = self.data.val.images
        sides = fixed_sides(len(images))
        sums = torch.zeros(6, device=hardware.device, dtype=torch.float64)
        for start in range(0, len(images), CHUNK):
            targets = hardware.to_float(images[start : start + CHUNK])
            chosen = sides[start : start + CHUNK].to(hardware.device)
            outputs = forward(erase(targets, chosen)).float()
            sums += torch.stack(_quality(outputs, targets, chosen)).double()
        l1, l1_erased, mse, psnr, ssim, erased = sums.tolist()
        n, pixels = len(images), images[0].numel()
        return {
            "val/l1": l1 / (n * pixels),
            "val/l1_erased": l1_erased / erased,
            "val/mse": mse / (n * pixels),
            "val/psnr": psnr / n,
            "val/ssim": ssim / n,
        }

    def final(
        self, forward: Forward, hardware: Hardware, history: list[dict[str, float]]
    ) -> dict[str, float]:
        return {}

    def show(self, forward: Forward, hardware: Hardware, *, final: bool) -> Showing:
        """The demo set: input, output, target and error (|output - target|) side by side."""
        index = demo_indices(self.data.val.labels)
        sides = torch.tensor([n % len(SIDES) for n in range(len(index))])
        targets = hardware.to_float(self.data.val.images[index])
        sides_there = sides.to(hardware.device)
        inputs = erase(targets, sides_there)
        outputs = forward(inputs).float()
        errors = (outputs - targets).abs()
        mask = erased_mask(sides_there, *targets.shape[-2:]).expand_as(errors)
        whole = errors.mean(dim=(1, 2, 3)).tolist()
        erased = ((errors * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3))).tolist()
        kinds = {"input": inputs, "output": outputs, "target": targets, "error": errors}
        rows, gallery = [], []
        for row, i in enumerate(index.tolist()):
            label = self.data.class_names[self.data.val.labels[i]]
            side = SIDES[sides[row]]
            cells = [Picture(to_pixels(x[row]), f"{i}-{kind}") for kind, x in kinds.items()]
            rows.append((i, label, side, *cells, whole[row], erased[row]))
            strip = to_pixels(torch.cat([x[row] for x in kinds.values()], dim=-1))
            caption = f"{i} {label}, {side} erased: input, output, target, error"
            gallery.append(Picture(strip, f"{i}-strip", f"{caption}, L1 {whole[row]:.4f}"))
        columns = ("index", "class", "side", *kinds, "l1", "l1_erased")
        grid = Picture(_grid(*kinds.values()), "overview")
        return Showing([Table("reconstructions", columns, rows)], gallery, grid)


def model_arguments(settings: ResConvSettings, image_channels: int) -> dict[str, Any]:
    """``ResConv``'s arguments for the settings."""
    names = ("layers", "ks", "ch", "residual_weight", "bn_encoder", "bn_decoder", "bn_last", "act",
             "stride", "padding", "groups", "checkpoint_activations")  # fmt: skip
    arguments = {name: getattr(settings, name) for name in names}
    rank = settings.rank if settings.conv == "select" else 0
    return {"image_channels": image_channels, "rank": rank} | arguments


def demo_indices(labels: Tensor) -> Tensor:
    """Indices of the first images of each class in turn, ``DEMO_IMAGES`` or as many as there are.

    With n images, classes c and sides s by turns: for ten classes each class comes twice, with
    two different sides, and each side five times.
    """
    place = torch.zeros_like(labels)
    for label in labels.unique():
        here = labels == label
        place[here] = torch.arange(int(here.sum()), dtype=labels.dtype)
    by_turns = torch.argsort(place * (int(labels.max()) + 1) + labels)
    return by_turns[:DEMO_IMAGES]


def _quality(outputs: Tensor, targets: Tensor, sides: Tensor) -> list[Tensor]:
    """Sums over a chunk: |error|, |error| erased, error², PSNR, SSIM, number of erased pixels."""
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    error = outputs - targets
    mask = erased_mask(sides, *targets.shape[-2:]).expand_as(error)
    psnr = peak_signal_noise_ratio(
        outputs, targets, data_range=1.0, reduction="sum", dim=(1, 2, 3)
    )
    ssim = structural_similarity_index_measure(
        outputs, targets, data_range=1.0, sigma=1.5, reduction="none"
    )
    erased = error.abs() * mask
    sums = [error.abs().sum(), erased.sum(), error.square().sum()]
    return [*sums, psnr, ssim.sum(), mask.sum()]


def _grid(*kinds: Tensor):
    """[n c h w] tensors, one for each kind, to one picture with n rows in two column blocks."""
    half = (len(kinds[0]) + 1) // 2
    padded = [F.pad(x, (1, 1, 1, 1), value=1.0) for x in kinds]
    strips = torch.cat(padded, dim=-1)
    missing = 2 * half - len(strips)
    strips = torch.cat([strips, strips.new_ones(missing, *strips.shape[1:])])
    return to_pixels(rearrange(strips, "(block n) c h w -> c (n h) (block w)", block=2))
