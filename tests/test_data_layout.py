"""Which files of a folder are read, as which split and class: the layouts that users have."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from common.errors import InputError
from data.layout import find_files, find_unlabelled
from data.scan import LINKS
from tests.adapters import load_data
from tests.test_data_folder import fill, picture, save


def counts(root: Path) -> tuple[int, int, int, tuple[str, ...]]:
    found = find_files(root)
    return len(found.train), len(found.val), len(found.test), found.class_names


@pytest.mark.parametrize(
    ("train", "held_out", "split"),
    [
        ("Train", "Val", "val"),
        ("TRAINING", "testing", "test"),
        ("train", "dev", "val"),
        ("train_set", "valid", "val"),
        ("training-data", "Validation Set", "val"),
        ("training_set/training_set", "test_set/test_set", "test"),
    ],
)
def test_splits_are_found_by_their_usual_names(tmp_path, train, held_out, split):
    fill(tmp_path / train, count=12)
    fill(tmp_path / held_out, count=3)
    train_images, val, test, classes = counts(tmp_path)
    assert classes == ("cat", "dog")
    if split == "test":
        assert train_images + val == 24 and test == 6
    else:
        assert (train_images, val, test) == (24, 6, 0)
    assert f"{train}/ as train, {held_out}/ as {split}" in find_files(tmp_path).remarks[0]


def test_linked_splits_and_classes_are_read_once_each(tmp_path):
    fill(tmp_path / "elsewhere" / "train", count=12)
    root = tmp_path / "photos"
    fill(root / "val", count=3)
    (root / "train").symlink_to(tmp_path / "elsewhere" / "train")
    assert counts(root) == (24, 6, 0, ("cat", "dog"))

    mixed = tmp_path / "mixed"
    fill(mixed, classes=("dog",), count=12)
    (mixed / "cat").symlink_to(tmp_path / "elsewhere" / "train" / "cat")
    for name, target in (("circle", mixed), ("above", tmp_path), ("again", mixed / "dog")):
        (mixed / name).symlink_to(target)
    (mixed / "self").symlink_to("self")
    (mixed / "dog" / "outside").symlink_to(tmp_path / "elsewhere" / "train" / "dog")
    (mixed / "dog" / "self.png").symlink_to("self.png")
    train, val, _, classes = counts(mixed)
    assert (train + val, classes) == (24, ("cat", "dog"))
    assert find_files(mixed).left_out == {LINKS: 4, "not regular files": 2}

    within = tmp_path / "within"
    fill(within / "images", count=12)
    fill(within / "val", count=3)
    (within / "train").symlink_to("images")
    assert counts(within) == (24, 6, 0, ("cat", "dog"))


def test_train_alone_holds_the_classes(tmp_path):
    fill(tmp_path / "train", count=12)
    train, val, test, classes = counts(tmp_path)
    assert (train + val, test, classes) == (24, 0, ("cat", "dog"))
    save(tmp_path / "cover.png", picture(1))
    assert counts(tmp_path) == (train, val, 0, ("cat", "dog"))


def test_a_few_loose_images_beside_classes_are_left_out(tmp_path):
    root = fill(tmp_path / "photos", count=6)
    before = counts(root)
    save(root / "cover.png", picture(1))
    found = find_files(root)
    assert counts(root) == before
    assert found.left_out == {"images outside the class folders": 1}
    data = load_data(str(root), size=(12, 12))
    assert data.skipped == 1 and "images outside the class folders (1)" in data.remarks[0]

    for i in range(5):
        save(root / f"{i}.png", picture(i))
    with pytest.raises(InputError, match="6 images lie directly in it and 12 in its subfolders"):
        find_files(root)
    for i in range(20):
        save(root / f"more{i}.png", picture(i))
    assert counts(root)[3] == ("photos",) and sum(counts(root)[:3]) == 38


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "#recycle", "lost+found", ".thumbnails", "__MACOSX", "$RECYCLE.BIN", "@Recycle",
     "System Volume Information"],
)  # fmt: skip
def test_system_folders_and_files_are_neither_classes_nor_images(tmp_path, name):
    root = fill(tmp_path / "photos", count=12)
    before = counts(root)
    for folder in (root, root / "cat"):
        save(folder / name / "000.png" / "SYNOPHOTO_THUMB_M.jpg", picture(1))
        (folder / "Thumbs.db").write_bytes(b"db")
        (folder / "._000.png").write_bytes(b"\0\5\x16\7")
    found = find_files(root)
    assert counts(root) == before
    assert found.left_out == {".db files": 2, "hidden files": 2}
    assert found.remarks == [f"system folders left out: {name}"]


def test_images_are_read_by_content_and_other_files_are_reported(tmp_path):
    root = fill(tmp_path / "photos", count=6)
    save(root / "cat" / "a.jfif", picture(1), format="JPEG")
    save(root / "cat" / "b.JPE", picture(2), format="JPEG")
    save(root / "cat" / "c", picture(3), format="PNG")
    (root / "cat" / "README").write_text("Two cats.")
    (root / "cat" / "d.heic").write_bytes(b"heic")
    data = load_data(str(root), size=(12, 12))
    assert len(data.train) + len(data.val) == 15
    assert (
        "other files without an ending (1)" in data.remarks[0]
        and ".heic files (1)" in data.remarks[0]
    )


def test_ambiguous_folders_are_refused_in_one_line(tmp_path):
    both = tmp_path / "both"
    fill(tmp_path / "wrapped" / "data" / "test", count=3)
    for name in ("train", "val", "validation"):
        fill(both / name, count=3)
    lone = fill(tmp_path / "lone" / "test", count=3).parent
    beside = fill(tmp_path / "beside" / "train", count=3).parent
    fill(beside, classes=("bird",), count=3)
    flat = tmp_path / "flat"
    fill(flat / "train", count=3)
    save(flat / "val" / "0.png", picture(0))
    other = fill(tmp_path / "other" / "train", count=3).parent
    fill(other / "val", classes=("horse",), count=1)
    for root, message in (
        (
            fill(tmp_path / "wrapped" / "data" / "train", count=3).parents[1],
            "data holds test and train although",
        ),
        (both, "keep one of val/ and validation/"),
        (lone, "holds test/ but no train/"),
        (beside, "train/ has subfolders of images and lies beside bird/"),
        (flat, r"images lie in none of the classes of the training images \(cat, dog\)"),
        (other, r"'horse' is none of the classes .* \(cat, dog\)"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            find_files(root)
        assert "\n" not in str(caught.value)
    for i in range(9):
        save(tmp_path / "vehicles" / "train" / f"{i}.png", picture(i))
        save(tmp_path / "vehicles" / "bus" / f"{i}.png", picture(i))
    assert counts(tmp_path / "vehicles")[3] == ("bus", "train"), "a class may be named train"


def test_a_test_folder_without_classes_is_ignored_and_other_folders_are_reported(tmp_path):
    fill(tmp_path / "train", count=12)
    fill(tmp_path / "old", count=3)
    for i in range(5):
        save(tmp_path / "test" / f"{i}.png", picture(i))
    found = find_files(tmp_path)
    assert found.test == [] and len(found.train) + len(found.val) == 24
    assert found.remarks == [
        "read train/ as train, test/ as test; not read: old/",
        "test/ not used: it has no folders of classes",
    ]


def test_the_unicode_form_of_a_name_does_not_change_the_split(tmp_path):
    names = ("café", "señor")
    composed = fill(tmp_path / "nfc", classes=names, count=40)
    for i in range(40):
        os.rename(composed / "café" / f"{i:03}.png", composed / "café" / f"é{i}.png")
    decomposed = tmp_path / "nfd"
    for path in composed.rglob("*.png"):
        name = unicodedata.normalize("NFD", path.relative_to(composed).as_posix())
        target = decomposed / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    first, second = (load_data(str(root), size=(12, 12)) for root in (composed, decomposed))
    assert first.checksum == second.checksum and first.class_names == second.class_names == names

    splits = tmp_path / "splits"
    fill(splits / "train", classes=names, count=6)
    fill(splits / "val", classes=[unicodedata.normalize("NFD", n) for n in names], count=3)
    assert counts(splits) == (12, 6, 0, names)


def test_the_hash_of_its_name_alone_places_a_file_in_a_class_that_has_both(tmp_path):
    root = fill(tmp_path / "photos", count=40)
    before = {f.name for f in find_files(root).val}
    for i in range(200):
        save(root / "cat" / f"new{i}.png", picture(0, 2))
    after = {f.name for f in find_files(root).val if "new" not in f.name}
    assert after == before and {name.split("/")[0] for name in before} == {"cat", "dog"}
    assert len(find_files(fill(tmp_path / "two", count=2)).val) == 2, "one of each small class"


def test_names_that_are_not_utf8_become_printable(tmp_path):
    root = os.fsencode(tmp_path) + b"/ph\xffotos"
    for name in (b"c\xe9t", b"dog"):
        os.makedirs(root + b"/" + name)
        for i in range(4):
            picture(i).save(os.fsdecode(root + b"/" + name + b"/" + str(i).encode() + b"\xe9.png"))
    data = load_data(os.fsdecode(root), size=(12, 12))
    assert data.class_names == (r"c\xe9t", "dog") and len(data.train) + len(data.val) == 8
    for text in (data.source, data.name, *data.class_names, *data.remarks):
        text.encode()


def test_images_in_both_splits_are_reported_by_file_name(tmp_path):
    root = fill(tmp_path / "photos", count=40)
    assert not load_data(str(root), size=(12, 12)).remarks
    for file in find_files(root).val:
        shutil.copy(file.path, file.path.with_name("z" + file.path.name))
    [remark] = load_data(str(root), size=(12, 12)).remarks
    assert "validation images are also training images" in remark and "/z" in remark


def test_an_unreadable_folder_is_reported(tmp_path, monkeypatch):
    root = fill(tmp_path / "photos", count=3)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for find in (find_files, find_unlabelled):
        with pytest.raises(InputError, match="dog cannot be read: Permission denied"):
            find(root)
