from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from data import download, fashion_mnist
from data.download import cache_folder
from data.fashion_mnist import IdxFile
from data.images import NotFoundError, Request, Source

SHAPES = {
    "train-images-idx3-ubyte": (20, 28, 28),
    "train-labels-idx1-ubyte": (20,),
    "t10k-images-idx3-ubyte": (10, 28, 28),
    "t10k-labels-idx1-ubyte": (10,),
}


def read(root: Path | None) -> Source:
    return fashion_mnist.load(Request(name="fashion-mnist", root=root, size=(28, 28)))


def idx_bytes(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return header + values.tobytes()


@pytest.fixture
def arrays(monkeypatch, tmp_path, no_network) -> dict[str, np.ndarray]:
    """A tiny data set in the same format, its checksums in place of the real ones."""
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.integers(0, 256 if len(shape) > 1 else 10, shape).astype(np.uint8)
        for name, shape in SHAPES.items()
    }
    files = tuple(
        IdxFile(name, values.shape, hashlib.sha256(idx_bytes(values)).hexdigest())
        for name, values in arrays.items()
    )
    monkeypatch.setattr(fashion_mnist, "FILES", files)
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "no-package")
    return arrays


def write(folder: Path, arrays: dict[str, np.ndarray], packed: bool = True) -> Path:
    folder.mkdir(parents=True)
    for name, values in arrays.items():
        content = idx_bytes(values)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("below, packed", [("", True), ("FashionMNIST/raw", False)])
def test_reads_both_layouts(arrays, tmp_path, below, packed):
    write(tmp_path / "root" / below, arrays, packed)
    source = read(tmp_path / "root")
    assert np.array_equal(source.train.images.squeeze(1), arrays["train-images-idx3-ubyte"])
    assert np.array_equal(source.val.images.squeeze(1), arrays["t10k-images-idx3-ubyte"])
    assert source.train.labels.tolist() == arrays["train-labels-idx1-ubyte"].tolist()
    assert source.val.labels.tolist() == arrays["t10k-labels-idx1-ubyte"].tolist()
    assert source.test is None and len(source.class_names) == 10
    assert source.source == str(tmp_path / "root" / below).rstrip("/")


def test_data_root_precedes_the_package_and_the_cache(arrays, tmp_path, monkeypatch):
    cached = write(cache_folder() / "fashion-mnist/FashionMNIST/raw", arrays)
    assert read(tmp_path).source == str(cached)
    package = write(tmp_path / "package", arrays)
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", package)
    assert read(None).source == str(package)
    root = write(tmp_path / "root", arrays)
    assert read(root).source == str(root)


def test_damaged_files_are_named(arrays, tmp_path):
    folder = write(tmp_path / "root", arrays)
    path = folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    altered = bytearray(idx_bytes(arrays["train-images-idx3-ubyte"]))
    altered[1000] ^= 1
    too_long = gzip.compress(idx_bytes(arrays["train-images-idx3-ubyte"]) + b"x")
    for content, message in [
        (whole[: len(whole) // 2], "truncated"),
        (b"", "truncated"),
        (b"\x1f\x8bnothing of the kind", "cannot be read"),
        (gzip.compress(b"\0" * 10_000_000), "truncated or altered"),
        (too_long, "truncated or altered"),
        (gzip.compress(bytes(altered)), "altered"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            read(folder)
        assert str(path) in str(caught.value)
        assert not isinstance(caught.value, NotFoundError), "must not fall back in silence"
    path.unlink()
    with pytest.raises(InputError, match=r"not train-images-idx3-ubyte\(.gz\)"):
        read(folder)


def test_missing_data_lists_the_searched_places_and_the_remedy(arrays, tmp_path):
    with pytest.raises(NotFoundError) as caught:
        read(tmp_path / "absent")
    message = str(caught.value)
    for part in (
        str(tmp_path / "absent"),
        str(tmp_path / "no-package"),
        str(cache_folder()),
        "no route to host",
        "apt install dataset-fashion-mnist",
        "--data-root",
        "--data garments",
    ):
        assert part in message
    assert "\n" not in message
    assert not cache_folder().exists()


def test_a_download_is_complete_in_the_cache(arrays, tmp_path, monkeypatch):
    def fetch(folder: Path, files: dict[str, str]) -> None:
        assert len(files) == 4
        write(folder, arrays)

    monkeypatch.setattr(download, "download", fetch)
    source = read(None)
    assert source.source == str(cache_folder() / "fashion-mnist/FashionMNIST/raw")


def test_the_checksums_are_those_of_torchvision():
    from torchvision.datasets import FashionMNIST

    ours = [(f"{file.name}.gz", file.md5) for file in fashion_mnist.FILES]
    assert ours == FashionMNIST.resources and FashionMNIST.mirrors == [fashion_mnist.URL]


@pytest.mark.skipif(
    not fashion_mnist.SYSTEM_FOLDER.is_dir(), reason="Debian package dataset-fashion-mnist absent"
)
def test_the_real_data_set():
    source = read(None)
    assert source.train.images.shape == (60_000, 1, 28, 28)
    assert source.val.images.shape == (10_000, 1, 28, 28)
    assert source.train.labels.bincount().tolist() == [6_000] * 10
    assert source.val.labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    # The mean that is quoted everywhere for normalising it.
    assert round(source.train.images.float().mean().item() / 255, 4) == 0.2860
