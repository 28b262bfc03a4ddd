"""The image files below a folder; everything else in it is left out, with a reason."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from common.errors import InputError

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


class Tree:
    """The subfolders and the image files of every folder below ``folder``, by the folder's path.

    ``left_out`` has a reason for each path that is not read: hidden and other files, and links to
    what lies outside. A link to a folder is followed with ``follow_links``, in the folder itself
    and in splits, unless that reads images twice; ``system`` holds the names of folders that
    belong to the system. Raises ``InputError`` for a folder that cannot be listed.
    """

    def __init__(self, folder: Path, *, follow_links: bool = False) -> None:
        self.root = Path(os.path.realpath(folder))
        self.follow_links = follow_links
        self.folders: dict[Path, list[Path]] = {}
        self.images: dict[Path, list[Path]] = {}
        self.left_out: dict[Path, str] = {}
        self.system: set[str] = set()
        self._read = [self.root]  # and the targets of the links that are followed
        pending = [self.root]
        try:
            for path in pending:  # grows: folders nearer to the root are listed first
                pending += self._list(path)
        except OSError as error:
            path = printable(error.filename)
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error

    def _list(self, folder: Path) -> list[Path]:
        """Sort the entries of ``folder`` into the attributes; returns its subfolders."""
        paths = sorted(Path(entry.path) for entry in os.scandir(folder))
        # Unlike DirEntry.is_dir(), os.path.isdir() is False for a link to itself.
        inner = {path for path in paths if os.path.isdir(path)}
        folders = self.folders[folder] = []
        for path in sorted(inner):
            if path.name.startswith((".", "__")) or path.name.lower() in SYSTEM_FOLDERS:
                self.system.add(path.name)
            elif path.is_symlink() and not self._follow(path):
                self.left_out[path] = LINKS
            else:
                folders.append(path)
        images = self.images[folder] = []
        for path in paths:
            if path in inner:
                continue
            target = Path(os.path.realpath(path)) if path.is_symlink() else path
            outside = target != path and not any(map(target.is_relative_to, self._read))
            if reason := LINKS if outside else why_no_image(path):
                self.left_out[path] = reason
            else:
                images.append(path)
        return folders

    def _follow(self, link: Path) -> bool:
        parents = link.relative_to(self.root).parts[:-1]
        if not self.follow_links or not all(map(split_of, parents)):
            return False
        target = Path(os.path.realpath(link))
        twice = any(target.is_relative_to(t) or t.is_relative_to(target) for t in self._read)
        is_split = not parents and split_of(link.name) is not None
        if self.root.is_relative_to(target) or (twice and not is_split):
            return False
        self._read.append(target)
        return True

    def below(self, folder: Path) -> Iterator[Path]:
        """Every image file below ``folder``."""
        yield from self.images[folder]
        for inner in self.folders[folder]:
            yield from self.below(inner)

    def has_images(self, folder: Path) -> bool:
        return any(True for _ in self.below(folder))


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
    if suffix:
        return None
    try:
        with open(path, "rb") as file:
            known = file.read(4).startswith(SIGNATURES)
    except OSError:
        known = False
    return None if known else "other files without an ending"


def split_of(name: str) -> str | None:
    """``train``, ``val`` or ``test`` for a usual spelling of it."""
    name = re.sub(r"[-_ ]", "", name.lower())
    return SPLITS.get(re.sub(r"(?<=.)(set|data|images|split)$", "", name))
