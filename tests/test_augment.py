"""Augmentation does what it says, image by image, and samples nothing when switched off."""

from __future__ import annotations

import hashlib

import torch

from data.augment import FILL, Augmentation
from data.batches import BatchStream, RandomParameters


def batch(n: int = 400, height: int = 6, width: int = 9) -> torch.Tensor:
    return torch.randint(0, 100, (n, 3, height, width), dtype=torch.uint8)


def augmented(images: torch.Tensor, seed: int = 3, **on) -> torch.Tensor:
    chosen = Augmentation(**on)
    generator = torch.Generator().manual_seed(seed)
    return chosen(images, chosen.sample(generator, len(images), (images.shape[2], images.shape[3])))


def test_each_image_is_flipped_or_not_independently():
    images = batch()
    out = augmented(images, flip=True)
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert 150 < int(same.sum()) < 250
    assert torch.equal(out, augmented(images, flip=True))


def test_shift_moves_whole_images_by_every_offset_and_fills_with_grey():
    images = batch()
    out = augmented(images, shift=2)
    found = set()
    for image, moved in zip(images, out, strict=True):
        padded = torch.nn.functional.pad(image, (2, 2, 2, 2), value=FILL)
        spots = [(dy, dx) for dy in range(5) for dx in range(5)
                 if torch.equal(padded[:, dy : dy + 6, dx : dx + 9], moved)]  # fmt: skip
        assert len(spots) == 1
        found.update(spots)
    assert len(found) == 25


def test_cutout_fills_one_square_cut_off_at_the_border():
    images = batch()
    out = augmented(images, cutout=4)
    changed = out != images
    assert bool((out[changed] == FILL).all())
    assert torch.equal(changed[:, 0], changed[:, 2])
    rows, columns = changed[:, 0].any(2).sum(1), changed[:, 0].any(1).sum(1)
    assert torch.equal(changed[:, 0].flatten(1).sum(1), rows * columns)
    assert set(rows.tolist()) == {2, 3, 4} == set(columns.tolist())


def test_off_is_the_identity_and_samples_nothing():
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()
    images = batch(8)
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
