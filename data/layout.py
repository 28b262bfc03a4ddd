"""Which files of a folder are training, validation and test images, and of which classes.

* Classes are the subfolders. Images directly in the folder make it one class, unless they are few
  beside two or more subfolders with images: then they are left out.
* ``train/`` beside ``val/`` or ``test/``, or alone, are splits with class folders in them; usual
  spellings are accepted (``scan.SPLITS``). A ``test/`` without class folders is not used.
* Without ``val/``, one training image in ten is held out by a hash of its path in Unicode's NFC
  form, so adding files moves no other file. Small classes are an exception: where the hash selects
  no file, the one with the lowest hash is held out, so that every class has some.
* Left out and counted: other files, hidden and system files, links out of the folder, and linked
  folders except classes and splits that are links themselves.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from data.scan import Scanner, printable, split_of

VALIDATION_SHARE = 10  # one image in ten


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
    with _readable():
        return _Layout(folder).result()


def find_unlabelled(folder: Path) -> tuple[list[ImageFile], Counter[str]]:
    """Every image file below ``folder`` in the order of the paths, and what was left out."""
    search = Scanner(folder)
    with _readable():
        paths = sorted(search.walk(search.root))
    names = [printable(path.relative_to(search.root).as_posix()) for path in paths]
    files = [ImageFile(p, n, i, i) for i, (p, n) in enumerate(zip(paths, names, strict=True))]
    return files, Counter(search.left_out.values())


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        path = printable(error.filename)
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


class _Layout(Scanner):
    """Applies the rules to one folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.remarks: list[str] = []

    def result(self) -> FolderFiles:
        splits = self.split_folders()
        train = splits.get("train", self.root)
        classes = self.class_folders(train)
        if len(splits) == 1:  # hashed with the name of train/, as before that was a split
            files = self.files(train, classes, base=self.root)
        else:
            files = self.files(train, classes)
        test = self.files(splits["test"], classes, optional=True) if "test" in splits else []
        if "val" in splits:
            val = self.files(splits["val"], classes)
        else:
            files, val = _hold_out(files)
        if self.system:
            names = ", ".join(sorted(map(printable, self.system)))
            self.remarks.append(f"system folders left out: {names}")
        names = tuple(map(printable, classes))
        return FolderFiles(files, val, test, names, Counter(self.left_out.values()), self.remarks)

    def split_folders(self) -> dict[str, Path]:
        """``{"train": folder, ...}``, or nothing if the subfolders are classes."""
        folders = self.subfolders(self.root)
        groups: dict[str, list[Path]] = {}
        for path in folders:
            if split := split_of(path):
                groups.setdefault(split, []).append(path)
        if not groups:
            return {}
        targets = {os.path.realpath(path) for paths in groups.values() for path in paths}
        others = [path for path in folders if not split_of(path)]
        others = [p for p in others if os.path.realpath(p) not in targets and self.has_images(p)]
        if not self.are_splits(groups, others):
            return {}
        self.leave_out_loose(self.root)
        for split, (folder, *_) in groups.items():  # Kaggle's training_set/training_set/cats
            inner = self.subfolders(folder)
            if len(inner) == 1 and split_of(inner[0]) == split and not self.loose_images(folder):
                groups[split] = inner
        order = [split for split in ("train", "val", "test") if split in groups]
        paths = {split: groups[split][0].relative_to(self.root) for split in order}
        used = ", ".join(f"{printable(path)}/ as {split}" for split, path in paths.items())
        unused = ", ".join(f"{printable(path.name)}/" for path in others)
        self.remarks.append(f"read {used}" + (f"; not read: {unused}" if unused else ""))
        return {split: groups[split][0] for split in order}

    def are_splits(self, groups: dict[str, list[Path]], others: list[Path]) -> bool:
        """Whether folders named like splits are splits, not classes; raises if ambiguous.

        ``others`` are the other folders with images.
        """
        root, loose = printable(self.root), self.loose_images(self.root)
        if "train" not in groups:
            if others or loose:
                return False
            name = next(iter(groups.values()))[0].name
            raise InputError(
                f"{root} holds {name}/ but no train/; add train/, or name the folder of the "
                f"images, for example --data {root}/{name}."
            )
        train = groups["train"][0]
        if groups.keys() == {"train"} and others:
            if self.loose_images(train) or not self.has_images(train):
                return False
            raise InputError(
                f"{root} is ambiguous: {train.name}/ has subfolders of images and lies beside "
                f"{printable(others[0].name)}/; name the folder of the classes, for example "
                f"--data {root}/{train.name}."
            )
        for paths in groups.values():
            if len(paths) > 1:
                names = " and ".join(f"{path.name}/" for path in paths)
                raise InputError(f"{root} is ambiguous: keep one of {names}.")
        only_train = groups.keys() == {"train"}
        return not (only_train and loose and self.is_flat(self.root, loose, [train]))

    def class_folders(self, folder: Path) -> dict[str, list[Path]]:
        """The folders of each class by NFC name; the whole folder if it is one class."""
        classes = self.folders_by_name(folder)
        for path in (path for paths in classes.values() for path in paths):
            _require_no_splits(path)
        if loose := self.loose_images(folder):
            inside = [p for paths in classes.values() for p in paths if self.has_images(p)]
            if len(inside) < 2 or self.is_flat(folder, loose, inside):
                classes = {}
        if len(classes) > 1:
            return classes
        name = next(iter(classes), unicodedata.normalize("NFC", folder.name))
        return {name: [folder]}

    def folders_by_name(self, folder: Path) -> dict[str, list[Path]]:
        classes: dict[str, list[Path]] = {}
        for path in self.subfolders(folder):
            classes.setdefault(unicodedata.normalize("NFC", path.name), []).append(path)
        return dict(sorted(classes.items()))

    def is_flat(self, folder: Path, loose: list[Path], folders: list[Path]) -> bool:
        """Whether the ``loose`` images are the data too, or strays beside ``folders``."""
        count = sum(1 for path in folders for _ in self.walk(path))
        if len(loose) == 1 or 3 * len(loose) <= count:
            return False
        if len(loose) >= count:
            return True
        raise InputError(
            f"{printable(folder)} is ambiguous: {len(loose):,} images lie directly in it and "
            f"{count:,} in its subfolders; move them into the folder of a class."
        )

    def files(
        self,
        folder: Path,
        classes: dict[str, list[Path]],
        *,
        base: Path | None = None,
        optional: bool = False,
    ) -> list[ImageFile]:
        """The image files of one split; hashed by their paths relative to ``base``."""
        parts = {folder: 0} | {p: 0 for p in self.subfolders(folder) if p in self.links}
        if len(classes) > 1:
            own = self.folders_by_name(folder)
            numbers = {name: number for number, name in enumerate(classes)}
            unknown = [name for name in own if name not in classes]
            unknown = [name for name in unknown if any(map(self.has_images, own[name]))]
            missing = not own and bool(self.loose_images(folder))
            if missing and optional:
                self.remarks.append(f"{folder.name}/ not used: it has no folders of classes")
                return []
            if unknown or missing:
                wrong = f"{printable(unknown[0])!r} is none" if unknown else "images lie in none"
                raise InputError(
                    f"{printable(folder)}: {wrong} of the classes of the training images "
                    f"({', '.join(map(printable, classes))}); give each class a subfolder there."
                )
            self.leave_out_loose(folder)
            parts = {p: numbers[n] for n, paths in own.items() if n in numbers for p in paths}
        found = []
        for part, label in parts.items():
            for path in self.walk(part):
                name = unicodedata.normalize("NFC", path.relative_to(base or folder).as_posix())
                digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
                rank = int.from_bytes(digest[:8], "big")
                found.append(ImageFile(path, printable(name), label, rank))
        return sorted(found, key=_order)


def _require_no_splits(folder: Path) -> None:
    """Raise ``InputError`` if the folder of a class holds ``train/`` and another split."""
    inner = [Path(e.path) for e in os.scandir(folder) if e.is_dir(follow_symlinks=False)]
    names = {split: path.name for path in inner if (split := split_of(path))}
    if "train" in names and len(names) > 1:
        raise InputError(
            f"{printable(folder)} holds {' and '.join(sorted(names.values()))} although it is the "
            "folder of a class; put the classes into the splits, or name that folder, for example "
            f"--data {printable(folder)}."
        )


def _order(file: ImageFile) -> tuple[int, str]:
    return file.rank, str(file.path)


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
