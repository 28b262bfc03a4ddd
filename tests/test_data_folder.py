from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import InputError
from data import decode, folder
from data.load import require_classes
from data.scan import LINKS
from tests.adapters import load_data


def picture(seed: int, size: int = 12, mode: str = "L") -> Image.Image:
    shape = (size, size) if mode == "L" else (size, size, 3)
    values = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    return Image.fromarray(values)


def save(path: Path, image: Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def load(root: Path, **changes):
    return load_data(str(root), size=(12, 12), **changes)


def fill(root: Path, classes=("cat", "dog"), count: int = 30, mode: str = "L") -> Path:
    for label, name in enumerate(classes):
        for i in range(count):
            save(root / name / f"{i:03}.png", picture(1000 * label + i, mode=mode))
    return root


def fitted(path: Path, size: tuple[int, int]) -> np.ndarray:
    return folder.fit(decode.open_as_grey_or_rgb(path)[0], size, None)


def as_set(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_class_folders_are_split_by_a_rule_that_moves_no_image(tmp_path):
    root = fill(tmp_path / "my photos", count=60)
    data = load(root)
    assert data.class_names == ("cat", "dog") and data.name == "folder-my-photos"
    assert data.source == str(root) and data.skipped == 0 and data.test is None
    assert data.train.images.shape[1:] == (1, 12, 12)
    assert len(data.train.labels) + len(data.val.labels) == 120
    assert 4 <= len(data.val.labels) <= 24
    shown = picture(1007)
    place = [
        i for i, im in enumerate(data.train.images) if np.array_equal(im[0], np.asarray(shown))
    ]
    assert not place or data.train.labels[place[0]] == 1
    require_classes(data)

    again = load(root)
    assert again.checksum == data.checksum
    first = load(root, train_images=10, val_images=2)
    assert torch.equal(first.train.images, data.train.images[:10])
    assert torch.equal(first.val.images, data.val.images[:2])

    save(root / "cat" / "new.png", picture(5000))
    (root / "dog" / "000.png").unlink()
    later = load(root)
    assert not as_set(later.train.images) & as_set(data.val.images)
    assert not as_set(later.val.images) & as_set(data.train.images)
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    assert load(moved).checksum == later.checksum


def test_labels_go_with_their_images(tmp_path):
    for label, name in enumerate(("a", "b", "c")):
        for i in range(20):
            save(tmp_path / name / "deeper" / f"{i}.png", Image.new("L", (9, 9), 50 * label + i))
    data = load(tmp_path)
    for images, labels in (
        (data.train.images, data.train.labels),
        (data.val.images, data.val.labels),
    ):
        assert torch.equal(images[:, 0, 0, 0].long() // 50, labels)
        assert labels.unique().tolist() == [0, 1, 2]


def test_a_flat_folder_and_the_smallest_one(tmp_path):
    for i in range(2):
        save(tmp_path / f"{i}.jpg", picture(i))
    save(tmp_path / "old" / "3.png", picture(3))
    data = load(tmp_path)
    assert data.class_names == (tmp_path.name,)
    assert len(data.train.labels) + len(data.val.labels) == 3 and len(data.val.labels) >= 1
    with pytest.raises(InputError, match="one class only"):
        require_classes(data)


GREY = ("bits.pbm", "grey.PGM", "deep.png", "grey-alpha.png", "pal.gif")


def test_every_format_and_mode(tmp_path):
    white = Image.new("RGB", (12, 12), (255, 255, 255))
    clear = Image.new("RGBA", (12, 12), (255, 255, 255, 0))
    deep = Image.fromarray(np.full((12, 12), 0x8040, dtype=np.uint16))
    turned = Image.new("L", (24, 12), 0)
    turned.paste(255, (0, 0, 12, 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise brings it upright
    cases = {
        "rgb.jpg": (white, {}, 255),
        "cmyk.jpg": (Image.new("CMYK", (12, 12), (0, 0, 0, 0)), {}, 255),
        "rgb.bmp": (white, {}, 255),
        "rgb.webp": (white, {"lossless": True}, 255),
        "rgb.tiff": (white, {}, 255),
        "pal.gif": (white.convert("P"), {}, 255),
        "bits.pbm": (white.convert("1"), {}, 255),
        "grey.PGM": (white.convert("L"), {}, 255),
        "deep.png": (deep, {}, 0x80),
        "clear.png": (clear, {}, 0),
        "grey-alpha.png": (clear.convert("LA"), {}, 0),
    }
    for name, (image, options, _) in cases.items():
        save(tmp_path / name, image, **options)
    turned_path = save(tmp_path / "turned.png", turned, exif=exif)
    for name, (_, _, value) in cases.items():
        read = fitted(tmp_path / name, (6, 8))
        assert read.shape[:2] == (6, 8) and (read == value).all(), name
        assert (read.ndim == 2) == (name in GREY)
    upright = fitted(turned_path, (24, 12))
    assert (upright[:12] == 255).all() and (upright[12:] == 0).all()
    data = load(tmp_path)
    assert data.skipped == 0 and len(data.train.labels) + len(data.val.labels) == 12
    assert data.train.images.shape[1] == 3
    assert "6 grey images repeated as RGB beside 6 in colour" in data.remarks


def test_sizes_and_channels(tmp_path):
    small = save(tmp_path / "a.png", picture(0, 4))
    enlarged = fitted(small, (12, 12))
    assert np.array_equal(enlarged, np.asarray(picture(0, 4)).repeat(3, 0).repeat(3, 1))
    wide = Image.new("L", (40, 20), 0)
    wide.paste(200, (10, 0, 30, 20))
    cut = fitted(save(tmp_path / "b.png", wide), (10, 10))
    assert cut.shape == (10, 10) and (cut[:, 1:-1] == 200).all() and (cut > 150).all()
    save(tmp_path / "c.png", picture(2, mode="RGB"))
    assert load(tmp_path, channels=1).train.images.shape[1] == 1
    assert load(tmp_path, channels=3).train.images.shape[1] == 3


def chunk(kind: bytes, body: bytes, good: bool = True) -> bytes:
    """A chunk of a PNG file, its checksum good or not."""
    check = zlib.crc32(kind + body) ^ (0 if good else 1)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def huge_png(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def test_files_that_are_not_images_are_skipped_and_counted(tmp_path, recwarn):
    root = fill(tmp_path / "photos", count=10)
    whole = load(root)
    outside = save(tmp_path / "outside.png", picture(77))
    cat = root / "cat"
    (cat / "notes.txt").write_text("notes")
    (cat / ".hidden.png").write_bytes(b"")
    (cat / "empty.png").write_bytes(b"")
    (cat / "text.png").write_text("not an image")
    (cat / "cut.png").write_bytes(outside.read_bytes()[:60])
    (cat / "header.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    (cat / "eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (cat / "bomb.png").write_bytes(huge_png(60_000))
    (cat / "large.png").write_bytes(huge_png(9_000))
    (cat / "linked.png").symlink_to(outside)
    (cat / "dangling.png").symlink_to(tmp_path / "nothing.png")
    (cat / "circle").symlink_to(root)
    os.mkfifo(cat / "pipe.png")
    data = load(root)
    assert data.skipped == 13
    for reason in ("damaged or too large (7)", f"{LINKS} (3)", "hidden files (1)", ".txt files"):
        assert reason in data.remarks[0]
    assert data.checksum == whole.checksum
    assert not recwarn.list
    inside = root / "dog" / "same.png"
    inside.symlink_to(root / "cat" / "000.png")
    assert load(root).skipped == 13, "a link within the folder is an image like any other"


def test_a_large_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", picture(0, 20))
    monkeypatch.setattr(decode, "MAX_PIXELS", 399)
    with pytest.raises(ValueError, match="more than 399 pixels"):
        fitted(path, (8, 8))


def test_folders_without_enough_images(tmp_path):
    with pytest.raises(InputError, match="holds no readable images for training"):
        load(tmp_path)
    save(tmp_path / "a.png", picture(0))
    with pytest.raises(InputError, match=r"for validation .* at least two"):
        load(tmp_path)
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(InputError, match=r"not used: damaged or too large \(1\)"):
        load(tmp_path)
    fill(tmp_path / "photos", count=3)
    (tmp_path / "photos" / "bird").mkdir()
    data = load(tmp_path / "photos")
    assert data.class_names == ("bird", "cat", "dog")
    with pytest.raises(InputError, match="class 'bird' has no training images"):
        require_classes(data)
    with pytest.raises(InputError, match="--train-images 500: folder-photos has 4 training"):
        load(tmp_path / "photos", train_images=500)
