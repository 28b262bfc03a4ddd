"""Augmentation samples what it always did, and nothing when switched off.

What it makes of an image is checked by tests/test_referee.py.
"""

from __future__ import annotations

import hashlib

import torch

from data.augment import Augmentation
from data.batches import BatchStream, RandomParameters


def test_off_is_the_identity_and_samples_nothing():
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()
    images = torch.randint(0, 256, (8, 3, 6, 9), dtype=torch.uint8)
    assert Augmentation().sample(generator, 8, (6, 9)) == {}
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(Augmentation()(images, {}), images)


def test_batches_and_random_parameters_are_those_of_commit_73bab81():
    images = torch.randint(
        0, 256, (100, 3, 12, 10), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    augmentation = Augmentation(flip=True, shift=2, cutout=3)

    def sample(generator: torch.Generator, n: int) -> RandomParameters:
        return augmentation.sample(generator, n, (12, 10))

    digest = hashlib.sha256()
    for seed, shard in ((0, (0, 1)), (7, (1, 2))):
        stream = BatchStream(
            images, torch.arange(100), batch_size=32, seed=seed, sample=sample, shard=shard
        )
        for step in (0, 3, 6, 50):
            batch = stream.batch(step)
            random = [batch.random[name] for name in sorted(batch.random)]
            augmented = augmentation(batch.images, batch.random)
            for tensor in (batch.images, batch.labels, *random, augmented):
                digest.update(tensor.contiguous().numpy().tobytes())
    assert digest.hexdigest() == (
        "66e3988f23b4e63b1ba544cb49ff51479f5de169d0c642d4f86329b1030608fc"
    ), "a run that is resumed, or repeated with the same seed, would see other batches"
