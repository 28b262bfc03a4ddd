"""Augmentation draws what it says, image by image, and nothing when switched off."""

from __future__ import annotations

import torch

from data.augment import FILL, Augmentation


def batch(n: int = 400, height: int = 6, width: int = 9) -> torch.Tensor:
    return torch.randint(0, 100, (n, 3, height, width), dtype=torch.uint8)


def drawn(images: torch.Tensor, seed: int = 3, **on) -> torch.Tensor:
    chosen = Augmentation(**on)
    generator = torch.Generator().manual_seed(seed)
    return chosen(images, chosen.draw(generator, len(images), images.shape[-2:]))


def test_each_image_is_flipped_or_not_by_its_own_coin():
    images = batch()
    out = drawn(images, flip=True)
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert 150 < int(same.sum()) < 250
    assert torch.equal(out, drawn(images, flip=True))


def test_shift_moves_whole_images_by_every_offset_and_fills_with_grey():
    images = batch()
    out = drawn(images, shift=2)
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
    out = drawn(images, cutout=4)
    changed = out != images
    assert bool((out[changed] == FILL).all())
    assert torch.equal(changed[:, 0], changed[:, 2])
    rows, columns = changed[:, 0].any(2).sum(1), changed[:, 0].any(1).sum(1)
    assert torch.equal(changed[:, 0].flatten(1).sum(1), rows * columns)
    assert set(rows.tolist()) == {2, 3, 4} == set(columns.tolist())


def test_off_is_the_identity_and_draws_nothing():
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()
    images = batch(8)
    assert Augmentation().draw(generator, 8, (6, 9)) == {}
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(Augmentation()(images, {}), images)
