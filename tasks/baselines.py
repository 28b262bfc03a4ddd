"""Baselines without training: what any restoration net must beat. Exact, in torch, in chunks.

Each fills in the damaged pixels and keeps the others; for noise, which leaves no pixel undamaged,
every pixel is filled in from the whole noisy image. The nearest neighbours are the training images
whose undamaged pixels are nearest.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from common.errors import InputError
from common.log import log
from models.layers import RestorationNet

CHUNK = 250  # images whose distances to all training images are held at once
HELD_OUT = 2_000  # training images at most that choose the settings
NEIGHBOURS = (1, 2, 4, 6, 8, 12, 16, 24, 32)
STRENGTHS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)


class Baseline(RestorationNet):
    """Inputs float [n c+1 h w], the last channel the mask, to outputs [n c h w] in [0, 1].

    ``k``, ``distance`` ("l1" or "l2"), ``combine`` ("median", "mean" or "weighted": by inverse
    distance) and ``ridge`` (the strength, for pixels in [0, 1]) are chosen on held-out training
    images where they are None.
    """

    def __init__(
        self,
        *,
        image_channels: int = 1,
        extra_channels: int = 1,
        method: str = "knn",
        k: int | None = None,
        distance: str | None = None,
        combine: str | None = None,
        ridge: float | None = None,
    ) -> None:
        super().__init__(image_channels, extra_channels)
        if extra_channels != 1:
            raise InputError("--mask-input and --coordinates: a baseline takes just the mask")
        self.image_channels, self.method = image_channels, method
        self.k, self.distance, self.combine, self.ridge = k, distance, combine, ridge
        self.train_pixels = torch.empty(0)  # [n pixels]; not part of the state
        self.products = torch.empty(0)  # of ridge: X'X of all pixels and the constant
        self.solved: tuple[Any, Tensor] | None = None

    @torch.no_grad()
    def fit(self, images: Tensor, damage: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        """Learn from the training images, uint8 [n c h w].

        ``damage`` gives inputs (with the mask channel) and targets for images of that kind; it
        serves to choose the settings on images that are held out.
        """
        pixels = images.float().flatten(1) / 255
        if self.method in ("mean", "median"):
            self.fill = pixels.mean(0) if self.method == "mean" else pixels.median(0).values
        if self.method not in ("ridge", "knn"):
            return
        held_out = min(HELD_OUT, len(images) // 5)
        knn = self.k, self.distance, self.combine
        if held_out and None in ((self.ridge,) if self.method == "ridge" else knn):
            self._remember(pixels[:-held_out])
            self._choose(*damage(images[-held_out:]))
        self._remember(pixels)

    def _remember(self, pixels: Tensor) -> None:
        self.train_pixels, self.solved = pixels, None
        if self.method == "ridge":
            x = _with_one(pixels)
            self.products = x.T @ x

    def _choose(self, inputs: Tensor, targets: Tensor) -> None:
        candidates = self._ridge_errors if self.method == "ridge" else self._knn_errors
        error, settings = min(candidates(inputs, targets), key=lambda item: item[0])
        for name, value in settings.items():
            setattr(self, name, value)
        shown = ", ".join(f"{name} {value}" for name, value in settings.items())
        log.info(f"{self.method}: {shown} (L1 {error:.4f} on {len(inputs):,} held-out images)")

    def _ridge_errors(self, inputs: Tensor, targets: Tensor) -> Iterator[tuple[float, dict]]:
        for strength in STRENGTHS:
            self.ridge = strength
            yield float((self(inputs) - targets).abs().mean()), {"ridge": strength}

    def _knn_errors(self, inputs: Tensor, targets: Tensor) -> Iterator[tuple[float, dict]]:
        images = len(self.train_pixels)
        ks = [self.k] if self.k else [n for n in NEIGHBOURS if n <= images]
        most = min(max(ks), images)
        combines = [self.combine] if self.combine else ["median", "mean", "weighted"]
        for distance in [self.distance] if self.distance else ["l2", "l1"]:
            groups = [
                (rows, filled, *self._nearest(known, visible, most, distance))
                for rows, known, visible, filled in self._groups(inputs)
            ]
            for k, combine in itertools.product(ks, combines):
                total = 0.0
                for rows, filled, index, gaps in groups:
                    guess = self._combined(index[:, :k], gaps[:, :k], filled, combine)
                    wanted = targets.flatten(1)[rows][:, filled]
                    total += float((guess - wanted).abs().sum())
                error = total / targets.numel()
                yield error, {"k": k, "distance": distance, "combine": combine}

    def compute(self, inputs: Tensor) -> Tensor:
        images = inputs[:, : self.image_channels].float()
        if self.method == "mirror":
            return _mirrored(images, inputs[:, self.image_channels :] > 0.5)
        outputs = images.flatten(1).clamp(0, 1).contiguous()
        with torch.autocast(inputs.device.type, enabled=False):  # distances and sums need float32
            for rows, known, visible, filled in self._groups(inputs):
                outputs[rows[:, None], filled] = self._fill(known, visible, filled)
        return outputs.view(images.shape)

    def _groups(self, inputs: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Images that share a mask: their rows, their visible pixels [n v], and the indices of the
        visible and of the damaged pixels. Where all are damaged, all are visible too.
        """
        channels = self.image_channels
        mask = (inputs[:, channels:] > 0.5).expand(-1, channels, -1, -1).flatten(1)
        pixels = inputs[:, :channels].flatten(1).float()
        kinds, kind_of = mask.unique(dim=0, return_inverse=True)
        for number, kind in enumerate(kinds):
            rows = (kind_of == number).nonzero().squeeze(1)
            visible = (~kind).nonzero().squeeze(1)
            if not len(visible):
                visible = kind.nonzero().squeeze(1)
            for part in rows.split(CHUNK):
                yield part, pixels[part][:, visible], visible, kind.nonzero().squeeze(1)

    def _fill(self, known: Tensor, visible: Tensor, filled: Tensor) -> Tensor:
        """The damaged pixels [n f] of images whose visible pixels are ``known`` [n v]."""
        if self.method == "zeros":
            return known.new_zeros(len(known), len(filled))
        if self.method in ("mean", "median"):
            return self.fill[filled].expand(len(known), -1)
        if self.method == "ridge":
            weights = self._ridge_weights(visible, filled)
            return (_with_one(known) @ weights).clamp(0, 1)
        index, gaps = self._nearest(known, visible, self.k or 1, self.distance or "l2")
        return self._combined(index, gaps, filled, self.combine or "median")

    def _ridge_weights(self, visible: Tensor, filled: Tensor) -> Tensor:
        """Closed form: (X'X + strength I)^-1 X'Y, the constant unpenalised; the last is kept."""
        key = self.ridge, visible.cpu().numpy().tobytes()
        if self.solved is None or self.solved[0] != key:
            constant = visible.new_full((1,), len(self.products) - 1)
            products = self.products[torch.cat([visible, constant])].double()
            gram = products[:, torch.cat([visible, constant])]
            penalty = gram.new_full((len(gram),), float(self.ridge or 1.0))
            penalty[-1] = 0
            weights = torch.linalg.solve(gram + penalty.diag(), products[:, filled]).float()
            self.solved = key, weights
        return self.solved[1]

    def _nearest(
        self, known: Tensor, visible: Tensor, k: int, distance: str
    ) -> tuple[Tensor, Tensor]:
        """The k nearest training images of each row, [n k], and their distances, nearest first."""
        train = self.train_pixels[:, visible]
        k = min(k, len(train))
        if distance == "l1":
            return nearest_by_l1(known, train, k)
        gaps = torch.cdist(known, train, compute_mode="use_mm_for_euclid_dist")
        nearest = gaps.topk(k, largest=False)
        return nearest.indices, nearest.values

    def _combined(self, index: Tensor, gaps: Tensor, filled: Tensor, combine: str) -> Tensor:
        """One image from k neighbours: their damaged pixels [n k f] to [n f]."""
        neighbours = self.train_pixels[:, filled][index]
        if combine == "median":
            ordered, k = neighbours.sort(1).values, neighbours.shape[1]
            return (ordered[:, (k - 1) // 2] + ordered[:, k // 2]) / 2
        if combine == "mean":
            return neighbours.mean(1)
        weights = 1 / gaps.clamp(min=1e-6)
        return (neighbours * (weights / weights.sum(1, keepdim=True))[:, :, None]).sum(1)

    def extra_repr(self) -> str:
        return f"method={self.method}, k={self.k}, distance={self.distance}, ridge={self.ridge}"


def nearest_by_l1(known: Tensor, train: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of ``train`` [m v] to each of ``known`` [n v] in L1, exactly: [n k], [n k].

    Differences of sums over four pixels bound each distance from below. Only images whose bound
    is within the k-th distance among the likeliest are compared in full: a third of the time.
    """
    bounds = torch.cdist(_sums_of_four(known), _sums_of_four(train), p=1.0)
    likely = bounds.topk(min(8 * k, len(train)), largest=False).indices
    gaps = (train[likely] - known[:, None]).abs().sum(2)
    limits = gaps.kthvalue(k, dim=1).values * (1 + 1e-4)  # more than the sums' rounding
    found = []
    for image, bound, limit in zip(known, bounds, limits, strict=True):
        candidates = (bound <= limit).nonzero().squeeze(1)
        nearest = torch.cdist(image[None], train[candidates], p=1.0)[0].topk(k, largest=False)
        found.append((candidates[nearest.indices], nearest.values))
    index, values = zip(*found, strict=True)
    return torch.stack(index), torch.stack(values)


def _sums_of_four(pixels: Tensor) -> Tensor:
    return torch.stack([part.sum(1) for part in pixels.split(4, dim=1)], dim=1)


def _mirrored(images: Tensor, mask: Tensor) -> Tensor:
    """Damaged pixels from their mirror image: left-right where that is visible, else top-bottom."""
    mask = mask.expand_as(images)
    outputs = images.clamp(0, 1)
    for axis in (2, 3):
        usable = mask & ~mask.flip(axis)
        outputs = torch.where(usable, images.flip(axis), outputs)
    return outputs


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)
