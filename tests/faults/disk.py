"""What a disk may hold after a power cut: writes since the last fsync lost, in part, in any order.

Stricter than ext4: a name (a new file or folder, a rename) is on disk only once its folder was
synced, and what a file holds only once the file itself was.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = 0  # the recorded folder's node


@dataclass(frozen=True)
class Write:
    """Bytes written to a file; ``data`` None cuts it off at ``start``."""

    nodes: frozenset[int]
    start: int
    data: bytes | None

    @property
    def node(self) -> int:
        return next(iter(self.nodes))


@dataclass(frozen=True)
class Names:
    """Names set in folders, all or none: (folder, name) to a node, or None where it is removed."""

    nodes: frozenset[int]
    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True)
class Sync:
    """Everything before it about ``node`` is on the disk."""

    node: int


@dataclass
class Disk:
    """A handler for ``calls.intercepted``: records what happens to the files below ``root``.

    What ``root`` holds at the start counts as on the disk. ``marks`` are things reported as saved:
    the number of operations before it, and what was reported.
    """

    root: Path
    operations: list[Write | Names | Sync] = field(default_factory=list)
    marks: list[tuple[int, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = self.root.resolve()
        self.tree: dict[int, dict[str, int]] = {ROOT: {}}  # of folders, as the process sees them
        self.open_files: dict[int, int] = {}
        self.count = 0
        for path in sorted(self.root.rglob("*")):
            folder, name = self._place(path)
            node = self._new(folder, name, is_folder=path.is_dir())
            if path.is_file():
                self.operations.append(Write(frozenset([node]), 0, path.read_bytes()))
        self.operations += [Sync(node) for node in range(self.count + 1)]
        self.at_start = len(self.operations)

    def mark(self, reported: Any) -> None:
        """Note that ``reported`` was said to be saved."""
        self.marks.append((len(self.operations), reported))

    def _new(self, folder: int, name: str, *, is_folder: bool = False) -> int:
        self.count += 1
        if is_folder:
            self.tree[self.count] = {}
        self._set(((folder, name, self.count),))
        return self.count

    def _set(self, changes: tuple[tuple[int, str, int | None], ...]) -> None:
        for folder, name, node in changes:
            self.tree[folder].pop(name, None)
            if node is not None:
                self.tree[folder][name] = node
        self.operations.append(Names(frozenset(folder for folder, *_ in changes), changes))

    def _place(self, path: Any) -> tuple[int, str]:
        """The folder's node and the name of a path below ``root``."""
        *folders, name = Path(os.path.abspath(path)).relative_to(self.root).parts
        node = ROOT
        for folder in folders:
            node = self.tree[node][folder]
        return node, name

    def _node(self, path: Any) -> int | None:
        path = Path(os.path.abspath(path))
        if path == self.root:
            return ROOT
        folder, name = self._place(path)
        return self.tree[folder].get(name)

    def _inside(self, path: Any) -> bool:
        if isinstance(path, int):
            return path in self.open_files
        return Path(os.path.abspath(os.fsdecode(path))).is_relative_to(self.root)

    def __call__(self, name: str, call: Callable[..., Any], args: tuple) -> Any:
        if name == "close":
            self.open_files.pop(args[0], None)
            return call(*args)
        if not self._inside(args[0]):
            return call(*args)
        record = getattr(self, f"_{name}", None)
        if record is None:
            raise NotImplementedError(f"os.{name} of {args[0]}")
        position = os.lseek(args[0], 0, os.SEEK_END) if self._appends(name, args) else None
        if name == "write" and position is None:
            position = os.lseek(args[0], 0, os.SEEK_CUR)
        result = call(*args)
        record(result, *args) if name != "write" else record(result, position, *args)
        return result

    @staticmethod
    def _appends(name: str, args: tuple) -> bool:
        import fcntl

        return name == "write" and bool(fcntl.fcntl(args[0], fcntl.F_GETFL) & os.O_APPEND)

    def _open(self, file: int, path: Any, flags: int, *mode: Any) -> None:
        node = self._node(path)
        if node is None:
            node = self._new(*self._place(path))
        elif flags & os.O_TRUNC:
            self.operations.append(Write(frozenset([node]), 0, None))
        self.open_files[file] = node

    def _write(self, written: int, start: int, file: int, data: Any) -> None:
        whole = bytes(data)[:written]
        self.operations.append(Write(frozenset([self.open_files[file]]), start, whole))

    def _ftruncate(self, _: None, file: int, size: int) -> None:
        self.operations.append(Write(frozenset([self.open_files[file]]), size, None))

    def _fsync(self, _: None, file: int) -> None:
        self.operations.append(Sync(self.open_files[file]))

    def _mkdir(self, _: None, path: Any, *mode: Any) -> None:
        self._new(*self._place(path), is_folder=True)

    def _rename(self, _: None, source: Any, target: Any) -> None:
        self._set(((*self._place(source), None), (*self._place(target), self._node(source))))

    _replace = _rename

    def _unlink(self, _: None, path: Any) -> None:
        self._set(((*self._place(path), None),))

    _remove = _rmdir = _unlink

    def _utime(self, *args: Any) -> None:
        pass

    def after_cut(self, at: int, chance: random.Random, folder: Path) -> None:
        """Make in ``folder`` what the disk may hold if the power is cut after ``at`` operations."""
        kept_share = chance.choice((0.0, 0.5, 0.9, 1.0))
        synced: set[int] = set()
        kept: list[Write | Names] = []
        for operation in reversed(self.operations[:at]):
            if isinstance(operation, Sync):
                synced.add(operation.node)
            elif operation.nodes & synced or chance.random() < kept_share:
                kept.append(operation)
            elif isinstance(operation, Write) and operation.data and chance.random() < 0.5:
                part = operation.data[: chance.randrange(len(operation.data))]
                kept.append(Write(operation.nodes, operation.start, part))
        contents: dict[int, bytearray] = {}
        names: dict[int, dict[str, int]] = {}
        for operation in reversed(kept):
            if isinstance(operation, Write):
                _apply(operation, contents.setdefault(operation.node, bytearray()))
                continue
            for place, name, node in operation.changes:
                names.setdefault(place, {}).pop(name, None)
                if node is not None:
                    names[place][name] = node
        self._make(ROOT, folder, names, contents)

    def _make(self, node: int, path: Path, names: dict, contents: dict) -> None:
        if node not in self.tree:
            path.write_bytes(contents.get(node, b""))
            return
        path.mkdir()
        for name, child in names.get(node, {}).items():
            self._make(child, path / name, names, contents)


def _apply(write: Write, content: bytearray) -> None:
    if write.data is None:
        del content[write.start :]
    content.extend(bytes(max(0, write.start - len(content))))
    if write.data is not None:
        content[write.start : write.start + len(write.data)] = write.data
