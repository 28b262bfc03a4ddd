"""Restore image files of any size with a trained net."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from common.errors import InputError
from common.files import write_output
from common.media import to_pixels
from data.decode import open_as_grey_or_rgb
from data.images import to_float
from data.scan import why_no_image
from inference.load import load_trained
from tasks.corruptions import SIDES, half_mask
from tasks.restoration import net_inputs
from tasks.settings import RestorationSettings
from training.hardware import Hardware, choose_hardware

TILE = 384  # pixels a side of the part of a larger image that is computed at once
ENDING = "-restored.png"


@dataclass(frozen=True)
class Restorer:
    """A trained restoration net.

    ``halo`` is how far a pixel's value depends on others, in pixels; None if on the whole image: a
    larger image is then computed in overlapping windows of ``train_size`` (height, width), since
    such a net fails on sizes that it was not trained at (TLC, arXiv 2112.04491).
    """

    net: nn.Module
    hardware: Hardware
    options: RestorationSettings
    channels: int
    halo: int | None
    train_size: tuple[int, int]

    def __call__(self, images: Tensor, mask: Tensor | None = None, *, raw: bool = False) -> Tensor:
        """Images uint8 [n c h w] to outputs [n c h w] in [0, 1] on the CPU.

        ``mask``, bool [n 1 h w], marks the damaged pixels: they are set to 0 before, all others
        are copied from the images unless ``raw``. Without a mask the net's output is given as it
        is. Raises ``InputError`` where the net needs a mask.
        """
        if mask is None and self.options.mask_input:
            raise InputError(
                "the net was trained with --mask-input: say what to restore, for example "
                "--erase right or --mask mask.png"
            )
        images, pixels = to_float(images, self.hardware.device), images
        known = images if mask is None else images * ~mask.to(images.device)
        given = mask if mask is not None else images.new_zeros(1, dtype=torch.bool)
        given = given.expand(len(images), 1, *images.shape[-2:]).to(images.device)
        with torch.no_grad():
            outputs = self._tiled(net_inputs(known, given, self.options), images.shape)
        if mask is None or raw:
            return outputs
        return outputs.where(mask.cpu(), pixels.cpu() / 255)

    def _tiled(self, inputs: Tensor, shape: torch.Size) -> Tensor:
        height, width = shape[-2:]
        if self.halo is None and (height > self.train_size[0] or width > self.train_size[1]):
            return self._windows(inputs, shape)
        if self.halo is None or max(height, width) <= TILE:
            return self.net(inputs).cpu()
        whole = torch.empty(shape)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                self._tile(inputs, whole, top, left, self.halo)
        return whole

    def _windows(self, inputs: Tensor, shape: torch.Size) -> Tensor:
        """Windows of the training size that overlap by half, blended without visible seams."""
        height, width = (min(t, s) for t, s in zip(self.train_size, shape[-2:], strict=True))
        weight = (_ramp(height)[:, None] * _ramp(width)).to(inputs.device)
        whole = torch.zeros(shape, device=inputs.device)
        total = torch.zeros(shape[-2:], device=inputs.device)
        for top in _starts(shape[-2], height):
            for left in _starts(shape[-1], width):
                rows, columns = slice(top, top + height), slice(left, left + width)
                whole[..., rows, columns] += weight * self.net(inputs[..., rows, columns])
                total[rows, columns] += weight
        return (whole / total).cpu()

    def _tile(self, inputs: Tensor, whole: Tensor, top: int, left: int, halo: int) -> None:
        """Compute one tile with everything it depends on, so that no seam is visible."""
        first_row, first_column = max(0, top - halo), max(0, left - halo)
        rows = slice(first_row, top + TILE + halo)
        columns = slice(first_column, left + TILE + halo)
        inner = whole[..., top : top + TILE, left : left + TILE]
        output = self.net(inputs[..., rows, columns])
        y, x = top - first_row, left - first_column
        inner.copy_(output[..., y : y + inner.shape[-2], x : x + inner.shape[-1]])


def _ramp(n: int) -> Tensor:
    """Weights that rise to the middle of a window and fall again, above 0: [n]."""
    position = torch.arange(n) + 0.5
    return torch.minimum(position, n - position)


def _starts(size: int, window: int) -> list[int]:
    """Where windows start that overlap by half and cover ``size``."""
    last = size - window
    return [*range(0, last, max(1, window // 2)), last]


def load_restorer(path: Path, device: str = "auto") -> Restorer:
    """The restorer of a checkpoint; a run folder means its best one.

    Raises ``InputError`` for a checkpoint of another task or with weights of another net.
    """
    trained = load_trained(path, "restoration", "label images with python train.py predict")
    settings = replace(trained.settings.hardware, device=device, precision="fp32", compile=False)
    hardware = choose_hardware(settings)
    net, options = trained.net, trained.settings.task
    if not isinstance(options, RestorationSettings):
        raise TypeError(f"settings of a restoration have task options {type(options).__name__}")
    field = net.receptive_field()  # pyright: ignore[reportCallIssue]
    if getattr(net, "stride", 1) > 1:
        field = None  # a tile's phase would matter
    halo = None if field is None else int(field) // 2
    size = trained.settings.data.height_width
    return Restorer(hardware.prepare(net), hardware, options, trained.channels, halo, size)


@dataclass(frozen=True)
class Job:
    """What is restored in each image: the half ``side``, the pixels of ``mask``, or neither."""

    side: str = "none"
    mask: Path | None = None
    raw: bool = False

    def mask_for(self, height: int, width: int) -> Tensor | None:
        """The damaged pixels, bool [1 1 h w]. Raises ``InputError`` for a mask of another size."""
        if self.side in SIDES:
            return half_mask(torch.tensor([SIDES.index(self.side)]), height, width)
        if self.mask is None:
            return None
        pixels = np.asarray(_open(self.mask)[0].convert("L"))
        if pixels.shape != (height, width):
            size = f"{pixels.shape[0]}x{pixels.shape[1]}"
            raise InputError(
                f"--mask {self.mask}: is {size}, the image is {height}x{width}; give a mask of the "
                "image's size, white where it is to be restored"
            )
        return torch.from_numpy(pixels > 127)[None, None]


def restore_files(
    restorer: Restorer, paths: Sequence[Path], job: Job, *, out: Path | None
) -> Iterator[str]:
    """Restore each image of ``paths`` (files and folders); yields a line for each.

    The result goes beside the image, or to ``out``. Damaged files and files of a folder that are
    not images are skipped and counted; a file given by name raises ``InputError`` at the end.
    """
    files, skipped = _image_files(paths)
    targets = {file: (out or file.parent) / f"{file.stem}{ENDING}" for file in files}
    _check_targets(targets)
    unreadable: list[str] = []
    for file, target in targets.items():
        try:
            image, note = _read(file, restorer.channels)
        except InputError as error:
            skipped += file not in paths
            unreadable += [str(error)] if file in paths else []
            continue
        yield _restore_one(restorer, job, file, image, target) + note + f" -> {target}"
    if skipped:
        yield f"{skipped:,} files skipped: not images, or damaged"
    if unreadable:
        raise InputError("; ".join(unreadable))


def _check_targets(targets: dict[Path, Path]) -> None:
    seen: dict[Path, Path] = {}
    inputs = {file.resolve() for file in targets}
    for file, target in targets.items():
        if target in seen:
            raise InputError(
                f"several images would become {target}; restore them one by one, each with an "
                "--out of its own"
            )
        if target.resolve() in inputs:
            raise InputError(
                f"{target}: is given as an image and would be overwritten; give --out FOLDER"
            )
        seen[target] = file


def _restore_one(restorer: Restorer, job: Job, file: Path, image: Tensor, target: Path) -> str:
    height, width = image.shape[-2:]
    mask = job.mask_for(height, width)
    try:
        output = restorer(image[None], mask, raw=job.raw)[0]
    except (ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"{file}: {height}x{width} does not fit the net ({reason})") from None
    pixels = Image.fromarray(to_pixels(output))
    write_output(target, lambda f: pixels.save(f, format="PNG"))
    quality = ""
    if job.side in SIDES and mask is not None and mask.any():
        error = (output - image / 255).abs()
        erased = error[mask[0].expand_as(error)].mean()
        quality = f", {job.side} half erased, L1 {error.mean():.4f}, there {erased:.4f}"
    return f"{file}: {height}x{width}{quality}"


def _image_files(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """Files given, and images in folders given except earlier results; others are counted."""
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


def _open(path: Path) -> tuple[Image.Image, str]:
    try:
        return open_as_grey_or_rgb(path)
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise InputError(f"{path}: not an image that can be read ({error})") from None


def _read(path: Path, channels: int) -> tuple[Tensor, str]:
    """An image as uint8 [c h w] with the net's channels, and a note on how it was converted."""
    picture, remark = _open(path)
    note = f" ({remark})" if remark else ""
    if channels == 1 and picture.mode != "L":
        note += " (in colour; the net was trained on grey, so it was made grey)"
    if channels == 3 and picture.mode == "L":
        note += " (grey; the net was trained on RGB, so the grey was repeated)"
    pixels = np.array(picture.convert("L" if channels == 1 else "RGB"))
    pixels = pixels[None] if channels == 1 else rearrange(pixels, "h w c -> c h w")
    return torch.from_numpy(np.ascontiguousarray(pixels)), note
