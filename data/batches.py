"""Training batches cut from a data set that lives on the device; no loader, no workers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Draws = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """Raw training images with what chance decided about them.

    ``images`` uint8 [b c h w], ``labels`` int64 [b], ``draws`` a tensor [b ...] for each name.
    """

    images: Tensor
    labels: Tensor
    draws: Draws


class BatchStream:
    """Endless shuffled batches, each a pure function of (seed, step): nothing to save or restore.

    Epochs follow each other without a gap, so every batch is full, every image comes once an
    epoch, and a batch can hold the end of one epoch and the start of the next. ``draw`` makes an
    epoch's random decisions for all n images at once (which half to erase, how far to shift).
    With ``shard`` (rank, world) each process gets its part of the same global batch.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        seed: int,
        draw: Callable[[torch.Generator, int], Draws],
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.images, self.labels = images, labels
        self.batch_size = batch_size
        self.seed = seed
        self.draw = draw
        rank, world = shard
        self.first = batch_size * rank // world
        self.last = batch_size * (rank + 1) // world
        self.epochs: dict[int, Draws] = {}

    def __len__(self) -> int:
        return len(self.images)

    def _epoch(self, number: int) -> Draws:
        """The order of an epoch, as image indices ``order`` [n], and its draws [n ...]."""
        if number not in self.epochs:
            digest = hashlib.sha256(f"{self.seed}/{number}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            plan = {"order": torch.randperm(len(self), generator=generator)}
            plan |= self.draw(generator, len(self))
            self.epochs = {k: v for k, v in self.epochs.items() if k == number - 1}
            self.epochs[number] = {k: v.to(self.images.device) for k, v in plan.items()}
        return self.epochs[number]

    def batch(self, step: int) -> Batch:
        """The batch of training step ``step`` (from 0)."""
        position, end = step * self.batch_size + self.first, step * self.batch_size + self.last
        parts: list[Draws] = []
        while position < end:
            number, offset = divmod(position, len(self))
            taken = min(end - position, len(self) - offset)
            parts.append({k: v[offset : offset + taken] for k, v in self._epoch(number).items()})
            position += taken
        rows = parts[0]
        if len(parts) > 1:
            rows = {name: torch.cat([part[name] for part in parts]) for name in rows}
        order = rows["order"]
        draws = {name: rows[name] for name in rows if name != "order"}
        return Batch(self.images[order], self.labels[order], draws)
