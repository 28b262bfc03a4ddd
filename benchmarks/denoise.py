"""Finished denoising runs beside classic methods, on the same noisy images: PSNR and SSIM.

Non-local means and total variation are scikit-image's, BM3D is the package of that name, where it
is installed: ``pip install scikit-image bm3d``. Strengths are chosen on training images.

    python -m benchmarks.denoise --photos photos      # 32x32 patches of scikit-image's photos
    python train.py unet --corruption noise:25 --data photos --size 32
    python -m benchmarks.denoise runs/unet-... --out results/denoising
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from benchmarks.breakdown import outputs_of
from benchmarks.common import COUNT, hardware_of, out_option, write
from common.errors import InputError
from common.media import Table
from data.images import to_float
from tasks.base import evaluate
from tasks.corruptions import Noise
from tasks.metrics import RESTORATION
from tasks.restoration import Restoration
from tracking.folder import read_config

Method = Callable[[np.ndarray, float, float], np.ndarray]  # image [h w c], sigma, strength

PATCH = 32
PHOTOS = {
    "train": ("coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket"),
    "val": ("astronaut", "chelsea"),
}
TUNED_ON = 50  # training images
COLUMNS = ("data", "sigma", "method", "strength", "psnr", "ssim")
CLAIM = (
    "Mean PSNR (dB) and SSIM on validation images in [0, 1] with Gaussian noise of sigma on the "
    "scale 0-255, not clipped; the same noise for every method. Strengths are those with the best "
    f"PSNR on {TUNED_ON} training images: h / sigma of non-local means, the weight of total "
    "variation."
)


def non_local_means(image: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    restoration: Any = importlib.import_module("skimage.restoration")
    return restoration.denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, channel_axis=-1
    )


def total_variation(image: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    restoration: Any = importlib.import_module("skimage.restoration")
    return restoration.denoise_tv_chambolle(image, weight=strength, channel_axis=-1)


def bm3d(image: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    package: Any = importlib.import_module("bm3d")
    return (package.bm3d_rgb if image.shape[-1] == 3 else package.bm3d)(image, sigma)


METHODS: dict[str, tuple[Method, list[float]]] = {
    "non-local means": (non_local_means, [0.4, 0.6, 0.8, 1.0]),
    "total variation": (total_variation, [0.02, 0.04, 0.08, 0.12, 0.2, 0.3]),
    "BM3D": (bm3d, []),  # sigma is all it needs
}


def restored(method: Method, noisy: Tensor, sigma: float, strength: float) -> Tensor:
    """Noisy images [n c h w] to restored ones in [0, 1]."""
    images = rearrange(noisy, "n c h w -> n h w c").double().numpy()
    outputs = np.stack([method(x, sigma / 255, strength).reshape(x.shape) for x in images])
    return rearrange(torch.from_numpy(outputs), "n h w c -> n c h w").clamp(0, 1).float()


def scores(outputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Mean PSNR and SSIM over the images."""
    part = outputs, targets, torch.ones_like(targets[:, :1], dtype=torch.bool)
    found = evaluate(RESTORATION, [part], "val")
    return round(found["val/psnr"], 2), round(found["val/ssim"], 4)


def classic_rows(task: Restoration, corruption: Noise, count: int) -> Iterable[tuple[Any, ...]]:
    """Strength, PSNR and SSIM of each installed method on the first ``count`` images."""
    sigma, splits = corruption.sigma, (task.data.train, task.data.val)
    targets = [to_float(s.images[:n]) for s, n in zip(splits, (TUNED_ON, count), strict=True)]
    noisy = [corruption(images, corruption.fixed(len(images)))[0] for images in targets]
    for name, (method, strengths) in METHODS.items():
        if name == "BM3D" and not importlib.util.find_spec("bm3d"):
            continue
        tried = {s: restored(method, noisy[0], sigma, s) for s in strengths}
        best = max(tried, key=lambda s: scores(tried[s], targets[0])[0], default=None)
        outputs = restored(method, noisy[1], sigma, best or 0.0)
        yield name, best, *scores(outputs, targets[1])
    yield "nothing", None, *scores(noisy[1].clamp(0, 1), targets[1])


def rows_of(runs: Iterable[Path], count: int) -> list[tuple[Any, ...]]:
    """A row a run, and one a classic method for each data set and sigma. Raises ``InputError``."""
    rows, seen = [], {}
    for run in runs:
        parts, task = outputs_of(run)
        if not isinstance(corruption := task.corruption, Noise):
            raise InputError(f"{run}: trained with {task.options.corruption}; give noise:SIGMA")
        case = task.data.name, corruption.sigma
        if seen.get(case, task.data.checksum) != task.data.checksum:
            raise InputError(f"{run}: other images of {task.data.name}; give runs on the same ones")
        outputs, targets = (torch.cat([p[i] for p in parts])[:count].float() for i in (0, 1))
        rows.append((*case, read_config(run)["run_name"], None, *scores(outputs, targets)))
        if case not in seen:
            rows += [(*case, *row) for row in classic_rows(task, corruption, count)]
        seen[case] = task.data.checksum
    return sorted(rows, key=lambda row: (row[0], row[1], -row[4]))


def write_photos(folder: Path) -> None:
    """Cut scikit-image's colour photos into patches; those of validation are other photos."""
    photos: Any = importlib.import_module("skimage.data")
    for split, names in PHOTOS.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for name in names:
            pixels = getattr(photos, name)()
            height, width = (size // PATCH * PATCH for size in pixels.shape[:2])
            patches = rearrange(
                pixels[:height, :width], "(y p) (x q) c -> (y x) p q c", p=PATCH, q=PATCH
            )
            for i, patch in enumerate(patches):
                Image.fromarray(patch).save(folder / split / f"{name}-{i:04}.png")


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--photos", type=click.Path(path_type=Path), help="Write patches of photos here.")
@click.option("--images", type=COUNT, default=200, show_default=True,
              help="Validation images of a run.")  # fmt: skip
@out_option
def main(runs: tuple[Path, ...], photos: Path | None, images: int, out: Path) -> None:
    """Compare finished denoising RUNS with non-local means, total variation and BM3D."""
    if not importlib.util.find_spec("skimage"):
        raise InputError("scikit-image is missing; pip install scikit-image bm3d")
    if photos:
        write_photos(photos)
        return
    if not runs:
        raise InputError("no run folders; e.g. runs/unet-...")
    table = Table("denoising", COLUMNS, rows_of(runs, images))
    click.echo(write(out, "denoising", table, hardware_of("cpu"), CLAIM))


if __name__ == "__main__":
    main()
