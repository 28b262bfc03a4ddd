"""Which files and folders below a folder are read as images; everything else is left out."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm",
}  # fmt: skip
# First bytes of PNG, JPEG, GIF, WEBP, TIFF and BMP, for files without a suffix.
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")
# Folders that operating systems and network storage create; hidden names are left out anyway.
SYSTEM_FOLDERS = {
    "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "lost+found",
    "@appstore", "@sharebin", "$recycle.bin", "recycler", "system volume information",
    "network trash folder", "temporary items",
}  # fmt: skip
# By spelling in lower case, without "-", "_" and an ending such as "set" or "data".
SPLITS = {
    "train": "train", "training": "train", "trn": "train",
    "val": "val", "valid": "val", "validate": "val", "validation": "val", "dev": "val",
    "eval": "val", "evaluation": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
LINKS = "links out of the folder or in a circle"


def printable(name: object) -> str:
    """A file name or path as text; bytes that are not UTF-8 are written as ``\\xNN``."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class Scanner:
    """Finds image files; remembers what it leaves out and why, each path once.

    Left out: hidden, system and other files, links to files outside, and links to folders except
    those that the caller asks for with ``subfolders``.
    """

    def __init__(self, folder: Path) -> None:
        self.root = Path(os.path.realpath(folder))
        self.trees = [self.root]  # the folder and the targets of links to other folders
        self.links: set[Path] = set()  # links to folders that are read
        self.left_out: dict[Path, str] = {}
        self.system: set[str] = set()

    def subfolders(self, folder: Path) -> list[Path]:
        """The folders in ``folder`` that are not the system's, and links to folders (see below)."""
        kept = []
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = Path(entry.path)
            if not os.path.isdir(path):  # unlike entry.is_dir(), False for a link to itself
                continue
            if _is_system(entry.name):
                self.system.add(entry.name)
            elif not entry.is_symlink() or self.follow(path):
                kept.append(path)
        return kept

    def follow(self, link: Path) -> bool:
        """Whether a link to a folder is read: not if that reads images twice or in a circle."""
        if link in self.links:
            return True
        target = Path(os.path.realpath(link))
        is_read = any(target.is_relative_to(t) or t.is_relative_to(target) for t in self.trees)
        is_split = link.parent == self.root and split_of(link) is not None
        if self.root.is_relative_to(target) or (is_read and not is_split):
            self.left_out[link] = LINKS
            return False
        self.trees.append(target)
        self.links.add(link)
        return True

    def has_images(self, folder: Path) -> bool:
        return any(True for _ in self.walk(folder))

    def loose_images(self, folder: Path) -> list[Path]:
        """The image files directly in ``folder``."""
        return [path for path in _files_in(folder) if not self.why_left_out(path)]

    def leave_out_loose(self, folder: Path) -> None:
        """Leave out all files directly in ``folder``."""
        for path in _files_in(folder):
            self.left_out[path] = self.why_left_out(path) or "images outside the class folders"

    def walk(self, folder: Path) -> Iterator[Path]:
        """The image files below ``folder``; everything else is recorded as left out."""
        for parent, folders, names in os.walk(folder, onerror=_raise):
            self.system |= set(filter(_is_system, folders))
            folders[:] = sorted(name for name in folders if not _is_system(name))
            links = {Path(parent, n) for n in folders if os.path.islink(os.path.join(parent, n))}
            self.left_out |= dict.fromkeys(links - self.links, LINKS)
            for name in names:
                path = Path(parent, name)
                if reason := self.why_left_out(path):
                    self.left_out[path] = reason
                else:
                    yield path

    def why_left_out(self, path: Path) -> str | None:
        """The reason for leaving a file out; None if it is read."""
        if path.is_symlink():
            target = Path(os.path.realpath(path))
            if not any(target.is_relative_to(tree) for tree in self.trees):
                return LINKS
        return why_no_image(path)


def why_no_image(path: Path) -> str | None:
    """The reason why a path is not read as an image, in the plural; None if it is.

    The ending decides, or the first bytes of a file without one.
    """
    if path.name.startswith("."):
        return "hidden files"
    suffix = path.suffix.lower()
    if suffix and suffix not in SUFFIXES:
        return f"{suffix} files" if re.fullmatch(r"\.\w{1,8}", suffix, re.ASCII) else "other files"
    if not os.path.isfile(path):  # opening a pipe would block
        return "not regular files"
    return None if suffix or _has_signature(path) else "other files without an ending"


def split_of(path: Path) -> str | None:
    name = re.sub(r"[-_ ]", "", path.name.lower())
    return SPLITS.get(re.sub(r"(?<=.)(set|data|images|split)$", "", name))


def _is_system(name: str) -> bool:
    return name.startswith((".", "__")) or name.lower() in SYSTEM_FOLDERS


def _has_signature(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4).startswith(SIGNATURES)
    except OSError:
        return False


def _files_in(folder: Path) -> list[Path]:
    return [Path(e.path) for e in os.scandir(folder) if not os.path.isdir(e.path)]


def _raise(error: OSError) -> None:
    raise error
