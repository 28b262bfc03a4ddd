"""Restore image files of any size with a trained net."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
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
from training.hardware import choose_hardware

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
    device: torch.device
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
        pixels, shape = to_float(images, self.device), images.shape
        damaged = torch.zeros(1, 1, 1, 1, dtype=torch.bool) if mask is None else mask
        damaged = damaged.expand(len(images), 1, *shape[-2:]).to(pixels.device)
        with torch.no_grad():
            outputs = self._tiled(net_inputs(pixels * ~damaged, damaged, self.options), shape)
        return outputs if mask is None or raw else outputs.where(mask.cpu(), images.cpu() / 255)

    def _tiled(self, inputs: Tensor, shape: torch.Size) -> Tensor:
        """The net's output, computed in parts and blended without visible seams."""
        halo = self.halo
        rows, columns = (
            _windows(size, window) if halo is None else _tiles(size, halo)
            for size, window in zip(shape[-2:], self.train_size, strict=True)
        )
        whole, total = torch.zeros(shape), torch.zeros(shape[-2:])
        for y, down in rows:
            for x, across in columns:
                weight = down[:, None] * across
                whole[..., y, x] += weight * self.net(inputs[..., y, x]).cpu()
                total[y, x] += weight
        return whole / total


# Of one axis: what is computed at once, and the weight of each result.
Window = tuple[slice, Tensor]


def _tiles(size: int, halo: int) -> list[Window]:
    """Tiles with all that they depend on; results in the halo do not count."""
    parts = []
    for start in range(0, size, TILE):
        first, last = max(0, start - halo), min(size, start + TILE + halo)
        weight = torch.zeros(last - first)
        weight[start - first : start - first + TILE] = 1
        parts.append((slice(first, last), weight))
    return parts


def _windows(size: int, window: int) -> list[Window]:
    """Windows that overlap by half; the weight falls from the middle of each to its ends."""
    if size <= window:
        return [(slice(size), torch.ones(size))]
    position = torch.arange(window) + 0.5
    starts = [*range(0, size - window, max(1, window // 2)), size - window]
    weight = torch.minimum(position, window - position)
    return [(slice(start, start + window), weight) for start in starts]


def load_restorer(path: Path | str, device: str = "auto") -> Restorer:
    """The restorer of a checkpoint; a run folder means its best one.

    Raises ``InputError`` for a checkpoint of another task or with weights of another net.
    """
    trained = load_trained(path, "restoration", "label images with python train.py predict")
    settings, net = trained.settings, trained.net
    hardware = choose_hardware(
        replace(settings.hardware, device=device, precision="fp32", compile=False)
    )
    if not isinstance(settings.task, RestorationSettings):
        raise TypeError(f"a restoration has task options {type(settings.task).__name__}")
    field = net.receptive_field()  # pyright: ignore[reportCallIssue]
    if getattr(net, "stride", 1) > 1:
        field = None  # a tile's phase would matter
    patch = getattr(net, "patch", 1)  # tiles begin where a patch does
    return Restorer(
        net=hardware.prepare(net),
        device=hardware.device,
        options=settings.task,
        channels=trained.channels,
        halo=None if field is None else -(int(field) // 2 // -patch) * patch,
        train_size=settings.data.height_width,
    )


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

    The result goes beside the image, or to ``out``. Files of a folder that are damaged or not
    images are skipped and counted; a damaged file given by name raises ``InputError`` at the end.
    """
    files, skipped = _image_files(paths)
    targets = {file: (out or file.parent) / f"{file.stem}{ENDING}" for file in files}
    _check_targets(targets)
    unreadable = []
    for file, target in targets.items():
        try:
            image, note = _read(file, restorer.channels)
        except InputError as error:
            unreadable += [str(error)] if file in paths else []
            skipped += file not in paths
        else:
            yield _restore_one(restorer, job, file, image, target) + f"{note} -> {target}"
    if skipped:
        yield f"{skipped:,} files skipped: not images, or damaged"
    if unreadable:
        raise InputError("; ".join(unreadable))


def _check_targets(targets: dict[Path, Path]) -> None:
    inputs = {file.resolve() for file in targets}
    for target, number in Counter(targets.values()).items():
        if number > 1:
            raise InputError(
                f"several images would become {target}; restore them one by one, each with an "
                "--out of its own"
            )
        if target.resolve() in inputs:
            raise InputError(
                f"{target}: is given as an image and would be overwritten; give --out FOLDER"
            )


def _restore_one(restorer: Restorer, job: Job, file: Path, image: Tensor, target: Path) -> str:
    height, width = image.shape[-2:]
    mask = job.mask_for(height, width)
    quality = ""
    try:
        output = restorer(image[None], mask, raw=job.raw)[0]
    except InputError:
        raise
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file}: {height}x{width} does not fit the net ({reason})") from None
    pixels = Image.fromarray(to_pixels(output))
    write_output(target, lambda f: pixels.save(f, format="PNG"))
    if job.side in SIDES and mask is not None and mask.any():
        error = (output - image / 255).abs()
        erased = error[mask[0].expand_as(error)].mean()
        quality = f", {job.side} half erased, L1 {error.mean():.4f}, in that half {erased:.4f}"
    return f"{file}: {height}x{width}{quality}"


def _image_files(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """Files given, and images in folders given except earlier results; others are counted."""
    files: list[Path] = []
    skipped = 0
    for path in paths:
        try:
            listed = sorted(path.iterdir()) if path.is_dir() else [path]
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        inside = [p for p in listed if p == path or (p.is_file() and not p.name.endswith(ENDING))]
        images = [p for p in inside if p == path or not why_no_image(p)]
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
    mode = "L" if channels == 1 else "RGB"
    if picture.mode != mode:
        note += (
            " (in colour; the net was trained on grey, so it was made grey)"
            if channels == 1
            else " (grey; the net was trained on RGB, so the grey was repeated)"
        )
    pixels = np.atleast_3d(np.array(picture.convert(mode)))
    return torch.from_numpy(pixels).permute(2, 0, 1), note
