from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from common.errors import InputError
from data import cifar, download, fashion_mnist
from data.images import NotFoundError, Request, Source, Split, resize_nearest, with_channels
from data.load import require_classes
from data.registry import check_data
from tests.adapters import load_data
from tests.conftest import ROOT


def load(name: str, **changes):
    options = {"size": (28, 28), "train_images": 40, "val_images": 20}
    return load_data(name, **(options | changes))


def random_split(n: int, channels: int, size: int) -> Split:
    images = torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8)
    return Split(images, torch.arange(n) % 10)


@pytest.fixture
def fake(monkeypatch) -> Source:
    """Thirty grey images in place of Fashion-MNIST."""
    torch.manual_seed(0)
    source = Source(
        name="fashion-mnist",
        train=random_split(20, 1, 28),
        val=random_split(10, 1, 28),
        test=random_split(5, 1, 28),
        class_names=fashion_mnist.CLASS_NAMES,
        source="somewhere",
    )
    monkeypatch.setattr(fashion_mnist, "load", lambda request: source)
    return source


@pytest.fixture
def nothing_there(monkeypatch) -> None:
    def fail(request: Request):
        raise NotFoundError("it is not in /a, /b, and the download failed (no network)")

    for module, reader in ((fashion_mnist, "load"), (cifar, "load_dog_cat_bird")):
        monkeypatch.setattr(module, reader, fail)


def test_enlarging_repeats_pixels_and_takes_the_first_images(fake):
    data = load("fashion-mnist", size=(56, 84), train_images=7, val_images=None)
    repeated = fake.train.images[:7].repeat_interleave(2, -2).repeat_interleave(3, -1)
    assert torch.equal(data.train.images, repeated)
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert data.test is not None
    assert data.val.images.shape == (10, 1, 56, 84) and data.test.images.shape == (5, 1, 56, 84)
    for images in (data.train.images, data.val.images, data.test.images):
        assert images.dtype == torch.uint8 and images.is_contiguous()
    assert data.fallback_reason is None and data.source == "somewhere" and data.skipped == 0


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (27, 45), (1, 1)])
def test_any_size_is_nearest_neighbour_and_keeps_mirror_images(size):
    images = torch.randint(0, 256, (3, 2, 28, 28), dtype=torch.uint8)
    out = resize_nearest(images, size)
    assert torch.equal(out, F.interpolate(images, size=size, mode="nearest-exact"))
    if size[1] % 2 == 0:
        assert torch.equal(resize_nearest(images.flip(-1), size).flip(-1), out)


def test_channels_are_converted_exactly():
    grey = torch.randint(0, 256, (2, 1, 3, 3), dtype=torch.uint8)
    assert torch.equal(with_channels(with_channels(grey, 3), 1), grey)
    pure = torch.eye(3, dtype=torch.uint8).mul(255).view(3, 3, 1, 1)
    assert with_channels(pure, 1).flatten().tolist() == [76, 150, 29]


def test_the_checksum_covers_exactly_the_images_in_use(fake):
    whole = load("fashion-mnist", train_images=None, val_images=None)
    assert whole.checksum == load("fashion-mnist", train_images=20, val_images=10).checksum
    assert whole.checksum != load("fashion-mnist", train_images=19, val_images=10).checksum
    fake.train.images[0, 0, 0, 0] ^= 1
    pixel = load("fashion-mnist", train_images=None, val_images=None).checksum
    fake.train.labels[0] += 1
    label = load("fashion-mnist", train_images=None, val_images=None).checksum
    assert len({whole.checksum, pixel, label}) == 3


def test_auto_uses_the_real_data_if_available(fake):
    data = load("auto", train_images=4, val_images=4)
    assert data.name == "fashion-mnist" and data.fallback_reason is None


@pytest.mark.parametrize("auto, channels", [("fashion-mnist", 1), ("dog-cat-bird", 3)])
def test_auto_falls_back_with_the_reason_and_a_name_does_not(nothing_there, auto, channels):
    data = load("auto", auto=auto)
    assert data.name == "garments"
    assert data.train.images.shape == (40, channels, 28, 28)
    assert data.fallback_reason == "it is not in /a, /b, and the download failed (no network)"
    with pytest.raises(NotFoundError):
        load(auto)


def test_auto_never_downloads_and_explains_how_to(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "nowhere")
    monkeypatch.setattr(download, "download", lambda *_: pytest.fail("tried a download"))
    assert "--data fashion-mnist downloads it" in str(load("auto").fallback_reason)
    assert "--data dog-cat-bird downloads it" in str(
        load("auto", auto="dog-cat-bird").fallback_reason
    )


def test_a_damaged_real_file_is_an_error_for_auto_too(monkeypatch):
    def damaged(request: Request):
        raise InputError("train-images-idx3-ubyte.gz is truncated")

    monkeypatch.setattr(fashion_mnist, "load", damaged)
    with pytest.raises(InputError, match="truncated"):
        load("auto")


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("fashion-mnits", {}, "Did you mean 'fashion-mnist'?"),
        ("no/such/folder", {}, "is not a folder and not one of auto, fashion-mnist, garments"),
        ("", {}, "--data '' is not a folder"),
        ("~nobody-of-this-name/x" + "y" * 5000, {}, "is not a folder"),
        ("auto", {"root": Path("no/such/root")}, "--data-root 'no/such/root' is not a folder"),
        (__file__, {}, "is a file, not a folder"),
        ("garments", {"size": (0, 28)}, "--size 0x28: both sides must be at least 1"),
        ("garments", {"train_images": 0}, "--train-images 0: at least 1"),
        ("garments", {"val_images": -3}, "--val-images -3: at least 1"),
        ("garments", {"size": (10**6, 10**6)}, "lower --size or use fewer"),
        ("garments", {"train_images": 7000}, "--train-images 7,000: garments has 6,000 training"),
        ("fashion-mnist", {"size": (10**6, 10**6), "val_images": 10, "train_images": 9}, "GiB"),
        ("fashion-mnist", {"train_images": 21}, "--train-images 21: fashion-mnist has 20 training"),
        ("fashion-mnist", {"train_images": 2, "val_images": 99}, "has 10 validation images"),
    ],
)
def test_wrong_input_is_one_clear_line(fake, name, options, message):
    with pytest.raises(InputError) as caught:
        load(name, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_fallback_takes_no_more_images_than_it_has(nothing_there):
    data = load("auto", train_images=60_000, val_images=2_133)
    assert (len(data.train), len(data.val)) == (6_000, 1_000)


def test_names_are_checked_without_torch(tmp_path):
    code = f"""
import sys
from data.registry import check_data, names
for name in (*names(), {str(tmp_path)!r}):
    check_data(name, (28, 28))
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    with pytest.raises(InputError, match="not one of auto"):
        check_data("imagenet")


def test_a_classifier_needs_two_classes_and_images_in_each():
    require_classes(load("garments"))
    with pytest.raises(InputError, match=r"class '.*' has no validation images among the 4"):
        require_classes(load("garments", val_images=4))
    with pytest.raises(InputError, match=r"class '.*' has no training images among the 9"):
        require_classes(load("garments", train_images=9))


def test_holdout_validates_on_the_last_training_images_and_does_not_train_on_them():
    size = (28, 28)
    whole = load_data("garments", size=size)
    data = load_data("garments", size=size, train_images=100, val_images=20, holdout=50)
    assert torch.equal(data.val.images, whole.train.images[-50:-30])
    assert torch.equal(data.train.images, whole.train.images[:100]) and data.test is None
    rest = load_data("garments", size=size, holdout=50).train
    assert torch.equal(rest.images, whole.train.images[:-50])
    with pytest.raises(InputError, match="--holdout 6,000: garments has"):
        load_data("garments", size=size, holdout=6000)
