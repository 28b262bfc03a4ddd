from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from data import cifar
from data.download import cache_folder
from data.images import NotFoundError, Request, Source
from tests.adapters import load_data

PER_FILE = 100


def read(root: Path | None) -> Source:
    return cifar.load(Request(name="cifar10", root=root, size=(32, 32)))


def batch(seed: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (PER_FILE, 3072)).astype(np.uint8)
    return images, rng.permutation(np.arange(PER_FILE) % 10).tolist()


def write(folder: Path, monkeypatch) -> None:
    """Six tiny files in torchvision's layout, their checksums in place of the real ones."""
    folder.mkdir(parents=True)
    tables: dict[str, list] = {"TRAIN_FILES": [], "TEST_FILES": []}
    for seed, (name, *_) in enumerate((*cifar.TRAIN_FILES, *cifar.TEST_FILES)):
        images, labels = batch(seed)
        # Protocol 2, as Python 2 wrote the real ones.
        content = pickle.dumps({"data": images, "labels": labels, "batch_label": name}, 2)
        (folder / name).write_bytes(content)
        table = "TEST_FILES" if name == "test_batch" else "TRAIN_FILES"
        tables[table].append((name, PER_FILE, hashlib.md5(content).hexdigest()))
    for table, files in tables.items():
        monkeypatch.setattr(cifar, table, tuple(files))


def test_the_last_fifth_of_each_class_is_validation(tmp_path, monkeypatch):
    write(tmp_path / "cifar-10-batches-py", monkeypatch)
    source = read(tmp_path)
    assert source.test is not None
    assert source.train.labels.bincount().tolist() == [40] * 10
    assert source.val.labels.bincount().tolist() == [10] * 10
    assert source.test.labels.bincount().tolist() == [10] * 10
    images = np.concatenate([batch(seed)[0] for seed in range(5)]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch(seed)[1] for seed in range(5)])
    for label in range(10):
        of_class = images[labels == label]
        for split, wanted in ((source.train, of_class[:40]), (source.val, of_class[40:])):
            assert np.array_equal(split.images[split.labels == label], wanted)
    assert np.array_equal(source.test.images.reshape(-1, 3072), batch(5)[0])


def test_dog_cat_bird_is_the_three_classes_in_the_order_of_their_names(tmp_path, monkeypatch):
    write(tmp_path / "flat", monkeypatch)
    data = load_data("dog-cat-bird", root=tmp_path / "flat", size=(32, 32))
    assert data.class_names == ("bird", "cat", "dog") and data.test is not None
    assert data.train.labels.bincount().tolist() == [40] * 3
    assert data.val.labels.bincount().tolist() == [10] * 3
    assert data.test.labels.bincount().tolist() == [10] * 3
    full = read(tmp_path / "flat")
    for new, name in enumerate(data.class_names):
        old = full.train.images[full.train.labels == cifar.CLASS_NAMES.index(name)]
        assert torch.equal(data.train.images[data.train.labels == new], old)


def test_altered_and_missing_files_are_named(tmp_path, monkeypatch):
    write(tmp_path / "root", monkeypatch)
    path = tmp_path / "root" / "data_batch_3"
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(InputError, match=r"data_batch_3 is truncated or altered"):
        read(tmp_path / "root")
    path.unlink()
    with pytest.raises(InputError, match=r"data_batch_3 of CIFAR-10 cannot be read: No such file"):
        read(tmp_path / "root")


def test_a_pickle_that_would_run_code_is_refused_even_with_the_right_md5(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    write(tmp_path / "root", monkeypatch)
    content = pickle.dumps({"data": Evil()}, 2)
    (tmp_path / "root" / "test_batch").write_bytes(content)
    files = (("test_batch", PER_FILE, hashlib.md5(content).hexdigest()),)
    monkeypatch.setattr(cifar, "TEST_FILES", files)
    with pytest.raises(InputError, match=r"test_batch is not a batch of CIFAR-10: .*mkdir"):
        read(tmp_path / "root")
    assert not (tmp_path / "evil").exists()


def test_missing_data_lists_the_searched_places(tmp_path, no_network):
    with pytest.raises(NotFoundError) as caught:
        read(tmp_path / "absent")
    for part in (str(tmp_path / "absent"), str(cache_folder()), "no route to host"):
        assert part in str(caught.value)
    assert "--data-root" in str(caught.value) and "\n" not in str(caught.value)


def test_the_checksums_are_those_of_torchvision():
    from torchvision.datasets import CIFAR10

    assert (CIFAR10.url, CIFAR10.tgz_md5) == (cifar.URL, cifar.MD5)
    assert [[name, md5] for name, _, md5 in cifar.TRAIN_FILES] == CIFAR10.train_list
    assert [[name, md5] for name, _, md5 in cifar.TEST_FILES] == CIFAR10.test_list


def test_a_download_is_unpacked_without_unpickling(tmp_path, monkeypatch, file_server):
    write(tmp_path / "made" / "cifar-10-batches-py", monkeypatch)
    archive = tmp_path / "served" / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(tmp_path / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(cifar, "URL", f"{file_server}/{archive.name}")
    monkeypatch.setattr(cifar, "MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    source = read(None)
    assert source.source == str(cache_folder() / "cifar10/cifar-10-batches-py")
    assert len(source.train.labels) == 400
    assert not list(cache_folder().rglob("*.tar.gz"))
    monkeypatch.setattr(cifar, "MD5", "0" * 32)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    with pytest.raises(NotFoundError, match=r"MD5|md5"):
        read(None)
    assert not list(cache_folder().iterdir())
