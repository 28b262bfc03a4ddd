"""Training batches taken from a data set in device memory: no loader, no worker processes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RandomParameters = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """A batch of raw images with its random parameters (which half to erase, how far to shift).

    ``images`` uint8 [b c h w], ``labels`` int64 [b], ``random`` a tensor [b ...] for each name.
    """

    images: Tensor
    labels: Tensor
    random: RandomParameters


class BatchStream:
    """Infinite shuffled batches, each a pure function of (seed, step): no state to save or restore.

    Epochs follow each other without a gap: every batch is full, every image occurs once per
    epoch, and a batch can hold the end of one epoch and the start of the next. ``sample`` returns
    the random parameters of all n images for one epoch. With ``shard`` (rank, world) each process
    gets its part of the same global batch.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        seed: int,
        sample: Callable[[torch.Generator, int], RandomParameters],
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.images, self.labels = images, labels
        self.batch_size = batch_size
        self.seed = seed
        self.sample = sample
        rank, world = shard
        self.first = batch_size * rank // world
        self.last = batch_size * (rank + 1) // world
        self.epochs: dict[int, RandomParameters] = {}

    def __len__(self) -> int:
        return len(self.images)

    def _epoch(self, number: int) -> RandomParameters:
        """The random parameters [n ...] of an epoch in its ``order`` [n] of image indices."""
        if number not in self.epochs:
            digest = hashlib.sha256(f"{self.seed}/{number}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            random = {"order": torch.randperm(len(self), generator=generator)}
            random |= self.sample(generator, len(self))
            self.epochs = {k: v for k, v in self.epochs.items() if k == number - 1}
            self.epochs[number] = {k: v.to(self.images.device) for k, v in random.items()}
        return self.epochs[number]

    def batch(self, step: int) -> Batch:
        """The batch of training step ``step`` (from 0)."""
        position, end = step * self.batch_size + self.first, step * self.batch_size + self.last
        parts: list[RandomParameters] = []
        while position < end:
            number, offset = divmod(position, len(self))
            count = min(end - position, len(self) - offset)
            parts.append({k: v[offset : offset + count] for k, v in self._epoch(number).items()})
            position += count
        random = dict(parts[0])
        if len(parts) > 1:
            random = {name: torch.cat([part[name] for part in parts]) for name in random}
        order = random.pop("order")
        return Batch(self.images[order], self.labels[order], random)
