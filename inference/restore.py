"""A trained restorer at work on image files of any size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.errors import InputError
from common.files import write_output
from common.media import to_pixels
from data.decode import open_as_grey_or_rgb
from data.scan import why_no_image
from experiment import checkpoints as checkpoint
from experiment.settings import ResConvSettings
from models.resconv import ResConv, receptive_fields
from tasks.corruptions import SIDES, erase, erased_mask
from tasks.restoration import model_arguments
from training.hardware import Hardware, choose_hardware

BATCH_PIXELS = 2**18  # of equal-sized images computed at once
TILE = 384  # pixels a side of what is computed of a larger image at once
ENDING = "-restored.png"


@dataclass(frozen=True)
class Restorer:
    """A trained net; ``halo`` is how many pixels around a pixel its value depends on."""

    net: ResConv
    hardware: Hardware
    channels: int
    halo: int

    def __call__(self, images: Tensor) -> Tensor:
        """Images uint8 [n c h w], erased or not, to outputs [n c h w] in [0, 1] on the CPU."""
        inputs = self.hardware.to_float(images)
        height, width = images.shape[-2:]
        with torch.no_grad():
            if self.net.stride > 1 or max(height, width) <= TILE:
                return self.net(inputs).cpu()
            whole = torch.empty(images.shape)
            for top in range(0, height, TILE):
                for left in range(0, width, TILE):
                    self._tile(inputs, whole, top, left)
            return whole

    def _tile(self, inputs: Tensor, whole: Tensor, top: int, left: int) -> None:
        """Compute one tile with all that it can see, so that no seam is left."""
        first_row, first_column = max(0, top - self.halo), max(0, left - self.halo)
        rows = slice(first_row, top + TILE + self.halo)
        columns = slice(first_column, left + TILE + self.halo)
        inner = whole[..., top : top + TILE, left : left + TILE]
        output = self.net(inputs[..., rows, columns])
        y, x = top - first_row, left - first_column
        inner.copy_(output[..., y : y + inner.shape[-2], x : x + inner.shape[-1]])


def load_restorer(path: Path, device: str = "auto") -> Restorer:
    """The net of a checkpoint; ``path`` may be a run folder: then its best one.

    Raises ``InputError`` for a checkpoint of another task or with weights of another net.
    """
    path, contents, settings = checkpoint.load_trained(
        path, ResConvSettings.task, "label images with python train.py predict"
    )
    channels = contents["config"]["dataset"]["image_channels"]
    net = ResConv(**model_arguments(settings, channels))
    try:
        net.load_state_dict(contents["model"])
    except RuntimeError:
        raise InputError(f"{path}: its weights are not those of the net that it names") from None
    hardware = choose_hardware(replace(settings, device=device, precision="fp32", compile=False))
    halo = receptive_fields(net.kernels, net.stride, net.paddings)[-1] // 2
    return Restorer(hardware.prepare(net.eval()), hardware, channels, halo)


def restore_files(
    restorer: Restorer, paths: Sequence[Path], *, side: str, out: Path | None
) -> Iterator[str]:
    """Restore each image of ``paths`` (files and folders); yields a line for each.

    ``side`` of ``SIDES`` is erased first, so the error is known; ``none`` restores the image as
    it is. The result goes beside the image, or to ``out``. Files of a folder that are no images
    are passed over and counted; a file given by name raises ``InputError``.
    """
    files, skipped = _image_files(paths)
    targets = {file: (out or file.parent) / f"{file.stem}{ENDING}" for file in files}
    clash = [str(path) for path, count in Counter(targets.values()).items() if count > 1]
    if clash:
        raise InputError(
            f"several images would become {clash[0]}; restore them one by one, each "
            "with an --out of its own"
        )
    batch: list[tuple[Path, Tensor, str]] = []
    for file in files:
        try:
            image, note = _read(file, restorer.channels)
        except Exception as error:  # decoders of damaged files raise nearly anything
            if file in paths:
                raise InputError(f"{file}: no image that can be read ({error})") from None
            skipped += 1
            continue
        full = batch and (
            batch[0][1].shape != image.shape
            or (len(batch) + 1) * image[0].numel() > BATCH_PIXELS
        )
        if full:
            yield from _restore_batch(restorer, batch, side, targets)
            batch = []
        batch.append((file, image, note))
    if batch:
        yield from _restore_batch(restorer, batch, side, targets)
    if skipped:
        yield f"{skipped:,} files passed over: not images, or damaged"


def _image_files(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """Files given, and images in folders given but for earlier results; others counted."""
    files: list[Path] = []
    skipped = 0
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = [p for p in sorted(path.iterdir()) if p.is_file() and not p.name.endswith(ENDING)]
        images = [p for p in inside if not why_no_image(p)]
        if not images:
            raise InputError(f"{path}: no images in this folder, such as photo.png")
        files += images
        skipped += len(inside) - len(images)
    return list(dict.fromkeys(files)), skipped


def _read(path: Path, channels: int) -> tuple[Tensor, str]:
    """An image as uint8 [c h w] with the net's channels, and what had to be done to it."""
    picture, remark = open_as_grey_or_rgb(path)
    grey = picture.mode == "L"
    note = f" ({remark})" if remark else ""
    if channels == 1 and not grey:
        note += " (in colour; the net knows grey only, so it was made grey)"
    if channels == 3 and grey:
        note += " (grey; the net knows RGB only, so the grey was repeated)"
    pixels = np.array(picture.convert("L" if channels == 1 else "RGB"))
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(pixels)), note


def _restore_batch(
    restorer: Restorer,
    batch: list[tuple[Path, Tensor, str]],
    side: str,
    targets: dict[Path, Path],
) -> Iterator[str]:
    images = torch.stack([image for _, image, _ in batch])
    height, width = images.shape[-2:]
    inputs, mask = images, None
    if side in SIDES:
        sides = torch.full((len(images),), SIDES.index(side))
        inputs, mask = erase(images, sides), erased_mask(sides, height, width)[0]
    try:
        outputs = restorer(inputs)
    except ValueError as error:
        size = f"{height}x{width}"
        raise InputError(f"{batch[0][0]}: {size} does not fit the net ({error})") from None
    for (path, image, note), output in zip(batch, outputs, strict=True):
        target = targets[path]
        pixels = Image.fromarray(to_pixels(output))
        write_output(target, lambda f, p=pixels: p.save(f, format="PNG"))
        quality = ""
        if mask is not None:
            error = (output - image / 255).abs()
            erased = error[mask.expand_as(error)].mean()
            quality = f", {side} half erased, L1 {error.mean():.4f}, there {erased:.4f}"
        yield f"{path}: {height}x{width}{quality}{note} -> {target}"
