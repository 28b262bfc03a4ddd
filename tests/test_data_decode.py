"""The one image reader: depth, palettes, transparency, and metadata that are broken."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.decode import open_as_grey_or_rgb
from tests.adapters import load_data
from tests.test_data_folder import chunk, picture, save


def read(path: Path) -> np.ndarray:
    return np.asarray(open_as_grey_or_rgb(path)[0])


def many(root: Path, make, ending: str = "png", **options) -> Path:
    for i in range(20):
        save(root / f"{i}.{ending}", make(i), **options)
    return root


def deep(top: int, kind: str, low: int = 0):
    def make(seed: int) -> Image.Image:
        values = np.random.default_rng(seed).integers(low, top + 1, (12, 12))
        values[0, :2] = low, top
        return Image.fromarray(values.astype(kind))

    return make


@pytest.mark.parametrize(
    "top, kind, ending, high",
    [
        (4095, "u2", "png", "4,095"),
        (3000, "u2", "tif", "4,095"),
        (65535, "u2", "png", "65,535"),
        (200, "i4", "tif", "255"),
        (60000, "i4", "tif", "65,535"),
        (9_000_000, "i4", "tif", "9e+06"),
        (1, "f4", "tif", "1"),
        (6, "f4", "tif", "6"),
        (255, "f4", "tif", "255"),
    ],
)
def test_deep_values_are_scaled_by_what_is_in_the_data(tmp_path, top, kind, ending, high):
    data = load_data(str(many(tmp_path / "a", deep(top, kind), ending)), size=(12, 12))
    assert data.train.images.shape[1] == 1 and len(data.train) + len(data.val) == 20
    assert data.train.images.max() > 180 and data.train.images.min() == 0
    assert len(data.train.images.unique()) > (1 if top < 9 else 100)
    assert f"grey values 0 to {high} became 0 to 255" in " ".join(data.remarks)


def test_deep_images_of_a_folder_share_one_scale_and_negative_values_count(tmp_path):
    root = many(tmp_path / "a", deep(4095, "u2"))
    dark = Image.fromarray(np.full((12, 12), 160, "u2"))
    for i in range(5):
        save(root / f"dark{i}.png", dark)
    images = load_data(str(root), size=(12, 12)).train.images
    assert (images == 160 >> 4).all(dim=(1, 2, 3)).sum() >= 3
    data = load_data(str(many(tmp_path / "b", deep(1000, "i4", -1000), "tif")), size=(12, 12))
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)


def test_grey_palettes_are_grey_and_coloured_ones_are_not(tmp_path):
    for ending in ("gif", "png"):
        root = many(tmp_path / f"grey-{ending}", lambda i: picture(i).convert("P"), ending)
        assert load_data(str(root), size=(12, 12)).train.images.shape[1] == 1
        many(root, lambda i: picture(i, mode="RGB").quantize(8), ending)
        assert load_data(str(root), size=(12, 12)).train.images.shape[1] == 3


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_black_drawings_on_transparent_background_stay_visible(tmp_path, mode):
    def drawing(seed: int) -> Image.Image:
        alpha = np.random.default_rng(seed).integers(0, 2, (12, 12)).astype(np.uint8) * 255
        black = np.zeros((12, 12, 1 if mode == "LA" else 3), np.uint8)
        return Image.fromarray(np.concatenate([black, alpha[..., None]], -1), mode)

    path = save(tmp_path / "a.png", drawing(0))
    assert np.array_equal(read(path) if mode == "LA" else read(path)[..., 0],
                          255 - np.asarray(drawing(0))[..., -1])  # fmt: skip
    white = np.asarray(drawing(0)).copy()
    white[..., :-1] = 255
    assert read(save(tmp_path / "b.png", Image.fromarray(white, mode))).min() == 0, "black ground"


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_damaged_exif_does_not_make_an_image_damaged(tmp_path, ending):
    plain = save(tmp_path / f"plain.{ending}", picture(0, 32, "RGB"))
    for number, exif in enumerate(
        (b"no TIFF header", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM")
    ):
        path = save(tmp_path / f"broken{number}.{ending}", picture(0, 32, "RGB"), exif=exif)
        assert np.array_equal(read(path), read(plain))


def test_other_broken_metadata_of_a_png_are_ignored_but_not_broken_pixels(tmp_path):
    path = save(tmp_path / "a.png", picture(0))
    content = path.read_bytes()
    start = content.index(b"IDAT") - 4
    for extra in (
        chunk(b"tEXt", b"Comment\0text", good=False),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000))),
        chunk(b"iCCP", b"profile\0\0not compressed"),
        chunk(b"gAMA", b"\0"),
    ):
        path.write_bytes(content[:start] + extra + content[start:])
        assert np.array_equal(read(path), np.asarray(picture(0)))
    path.write_bytes(content[:-40])
    with pytest.raises((OSError, SyntaxError)):
        read(path)


@pytest.mark.parametrize(
    "marker, body", [(0xE0, b"JFIF\0"), (0xE2, b"ICC_PROFILE\0"), (0xED, b"Photoshop 3.0\x008BIM")]
)
def test_other_broken_metadata_of_a_jpeg_are_ignored(tmp_path, marker, body):
    path = save(tmp_path / "a.jpg", picture(0, 32, "RGB"))
    content, whole = path.read_bytes(), read(path)
    segment = b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
    path.write_bytes(content[:2] + segment + content[2:])
    assert np.array_equal(read(path), whole)
    path.write_bytes(content[:2] + segment + content[2:200])
    with pytest.raises((OSError, SyntaxError)):
        read(path)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda i: Image.new("L", (12, 12), 90), "all training images are the same picture"),
        (
            lambda i: picture(i).point([v // 20 for v in range(256)]),
            "nearly black: no value is above 1",
        ),
    ],
)
def test_training_pictures_that_are_alike_or_nearly_black_are_reported(tmp_path, make, message):
    assert message in " ".join(load_data(str(many(tmp_path, make)), size=(12, 12)).remarks)
