"""Which files of a folder are training, validation and test images, and of which classes.

* Classes are the subfolders. Images directly in the folder make it one class, unless they are few
  beside two or more subfolders with images: then they are left out.
* ``train/`` beside ``val/`` or ``test/``, or alone, are splits with class folders in them; usual
  spellings are accepted (``scan.SPLITS``). A ``test/`` without class folders is not used.
* Without ``val/``, one training image in ten is held out by a hash of its path in Unicode's NFC
  form, so adding files moves no other file. Small classes are an exception: where the hash selects
  no file, the one with the lowest hash is held out, so that every class has some.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from data.scan import Tree, printable, split_of

VALIDATION_SHARE = 10  # one image in ten
Classes = dict[str, list[Path]]  # the folders of each class, by its name in NFC


@dataclass(frozen=True)
class ImageFile:
    path: Path
    name: str  # the path inside its split, for messages
    label: int
    rank: int  # a hash of the path inside its split; orders the files, and selects validation


@dataclass(frozen=True)
class FolderFiles:
    """The image files of each split in the order of their ranks, and what was left out."""

    train: list[ImageFile]
    val: list[ImageFile]
    test: list[ImageFile]
    class_names: tuple[str, ...]
    left_out: Counter[str]  # files by reason
    remarks: list[str]


def find_files(folder: Path) -> FolderFiles:
    """The files of each split of ``folder`` by the rules at the top of this file.

    Decodes nothing. Raises ``InputError`` for an ambiguous or unreadable folder.
    """
    tree, remarks = Tree(folder, follow_links=True), []
    splits = _splits(tree, remarks)
    train = splits.get("train", tree.root)
    classes = _classes(tree, train)
    # A lone train/ is part of the hashed paths, as before that was a split.
    files = _files(tree, train, classes, tree.root if len(splits) == 1 else train)
    test = splits.get("test")
    if test and len(classes) > 1 and not tree.folders[test] and tree.images[test]:
        remarks.append(f"{test.name}/ not used: it has no folders of classes")
        test = None
    if "val" in splits:
        val = _files(tree, splits["val"], classes)
    else:
        files, val = _hold_out(files)
    held = _files(tree, test, classes) if test else []
    if tree.system:
        names = ", ".join(sorted(map(printable, tree.system)))
        remarks.append(f"system folders left out: {names}")
    left_out = Counter(tree.left_out.values())
    return FolderFiles(files, val, held, tuple(map(printable, classes)), left_out, remarks)


def find_unlabelled(folder: Path) -> tuple[list[ImageFile], Counter[str]]:
    """Every image file below ``folder`` in the order of the paths, and what was left out."""
    tree = Tree(folder)
    paths = enumerate(sorted(tree.below(tree.root)))
    files = [ImageFile(p, printable(p.relative_to(tree.root)), n, n) for n, p in paths]
    return files, Counter(tree.left_out.values())


def _splits(tree: Tree, remarks: list[str]) -> dict[str, Path]:
    """``{"train": folder, ...}``, or nothing if the subfolders are classes.

    Raises ``InputError`` where that is ambiguous.
    """
    groups: dict[str, list[Path]] = {}
    for path in tree.folders[tree.root]:
        if split := split_of(path.name):
            groups.setdefault(split, []).append(path)
    named = [path for split in ("train", "val", "test") for path in groups.get(split, ())]
    read = {os.path.realpath(path) for path in named}
    others = [p for p in tree.folders[tree.root] if os.path.realpath(p) not in read]
    others = [path for path in others if tree.has_images(path)]
    root, loose = printable(tree.root), tree.images[tree.root]
    if "train" not in groups:
        if not named or others or loose:
            return {}
        name = named[0].name
        raise InputError(
            f"{root} holds {name}/ but no train/; add train/, or name the folder of the "
            f"images, for example --data {root}/{name}."
        )
    train, alone = groups["train"][0], groups.keys() == {"train"}
    if alone and others:
        if tree.images[train] or not tree.has_images(train):
            return {}
        raise InputError(
            f"{root} is ambiguous: {train.name}/ has subfolders of images and lies beside "
            f"{printable(others[0].name)}/; name the folder of the classes, for example "
            f"--data {root}/{train.name}."
        )
    for paths in groups.values():
        if len(paths) > 1:
            names = " and ".join(f"{path.name}/" for path in paths)
            raise InputError(f"{root} is ambiguous: keep one of {names}.")
    if alone and loose and _is_flat(tree, tree.root, [train]):
        return {}
    _leave_out_loose(tree, tree.root)
    splits = {split_of(path.name) or "": path for path in named}
    for split, path in splits.items():  # Kaggle's training_set/training_set/cats
        inner = tree.folders[path]
        if len(inner) == 1 and split_of(inner[0].name) == split and not tree.images[path]:
            splits[split] = inner[0]
    used = (f"{printable(p.relative_to(tree.root))}/ as {split}" for split, p in splits.items())
    unused = ", ".join(f"{printable(path.name)}/" for path in others)
    remarks.append(f"read {', '.join(used)}" + (f"; not read: {unused}" if unused else ""))
    return splits


def _classes(tree: Tree, folder: Path) -> Classes:
    """The classes of the training images; the whole folder if it is one class."""
    classes = _by_name(tree.folders[folder])
    for path in tree.folders[folder]:
        inner = {split_of(p.name): p.name for p in tree.folders[path] if split_of(p.name)}
        if "train" in inner and len(inner) > 1:
            raise InputError(
                f"{printable(path)} holds {' and '.join(sorted(inner.values()))} although it is "
                "the folder of a class; put the classes into the splits, or name that folder, for "
                f"example --data {printable(path)}."
            )
    inside = [path for path in tree.folders[folder] if tree.has_images(path)]
    if tree.images[folder] and (len(inside) < 2 or _is_flat(tree, folder, inside)):
        classes = {}
    if len(classes) > 1:
        return classes
    return {next(iter(classes), unicodedata.normalize("NFC", folder.name)): [folder]}


def _by_name(folders: list[Path]) -> Classes:
    classes: Classes = {}
    for path in folders:
        classes.setdefault(unicodedata.normalize("NFC", path.name), []).append(path)
    return dict(sorted(classes.items()))


def _is_flat(tree: Tree, folder: Path, inside: list[Path]) -> bool:
    """Whether the images directly in ``folder`` are data, or strays beside those ``inside``."""
    loose, count = len(tree.images[folder]), sum(1 for p in inside for _ in tree.below(p))
    if loose == 1 or 3 * loose <= count:
        return False
    if loose >= count:
        return True
    raise InputError(
        f"{printable(folder)} is ambiguous: {loose:,} images lie directly in it and {count:,} in "
        "its subfolders; move them into the folder of a class."
    )


def _leave_out_loose(tree: Tree, folder: Path) -> None:
    tree.left_out |= dict.fromkeys(tree.images[folder], "images outside the class folders")


def _files(tree: Tree, folder: Path, classes: Classes, base: Path | None = None) -> list[ImageFile]:
    """The image files of one split by their ranks: hashes of the paths relative to ``base``."""
    parts = [(folder, 0)]
    if len(classes) > 1:
        own = _by_name(tree.folders[folder])
        unknown = [n for n in own if n not in classes and any(map(tree.has_images, own[n]))]
        if unknown or (not own and tree.images[folder]):
            wrong = f"{printable(unknown[0])!r} is none" if unknown else "images lie in none"
            raise InputError(
                f"{printable(folder)}: {wrong} of the classes of the training images "
                f"({', '.join(map(printable, classes))}); give each class a subfolder there."
            )
        _leave_out_loose(tree, folder)
        parts = [(path, n) for n, name in enumerate(classes) for path in own.get(name, ())]
    found = []
    for part, label in parts:
        for path in tree.below(part):
            name = unicodedata.normalize("NFC", path.relative_to(base or folder).as_posix())
            digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
            rank = int.from_bytes(digest[:8], "big")
            found.append(ImageFile(path, printable(name), label, rank))
    return sorted(found, key=lambda file: (file.rank, str(file.path)))


def _hold_out(files: list[ImageFile]) -> tuple[list[ImageFile], list[ImageFile]]:
    """One file in ten by its hash for validation; some of each class on both sides."""
    by_class: dict[int, list[ImageFile]] = {}
    for file in files:
        by_class.setdefault(file.label, []).append(file)
    held: set[ImageFile] = set()
    for group in by_class.values():
        chosen = [file for file in group if file.rank % VALIDATION_SHARE == 0]
        if len(group) > 1:
            chosen = (chosen or group[:1])[: len(group) - 1]
        held.update(chosen)
    return [f for f in files if f not in held], [f for f in files if f in held]
