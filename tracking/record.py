"""One run as it was recorded, read from its run folder or (``tracking.api``) from W&B."""

import contextlib
import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from common.errors import InputError
from models.registry import command_of
from tracking.folder import read_config, read_summary, recorded_time

PICTURE_KINDS = ("input", "output", "target", "error")
Source = TypeVar("Source")
Run = TypeVar("Run")


@dataclass(frozen=True)
class DemoPicture:
    """One picture of the demo set: PNG bytes by kind, errors as mean absolute difference."""

    index: int
    class_name: str
    damage: str  # ``left erased``
    l1: float
    png: Mapping[str, bytes]


def demo_picture(row: Mapping[str, Any], png: Mapping[str, bytes]) -> DemoPicture:
    """A row of the table ``reconstructions``; 73bab81 recorded the side that was erased."""
    l1 = row.get("l1")
    return DemoPicture(
        index=int(row["index"]),
        class_name=str(row.get("class") or ""),
        damage=str(row.get("damage") or (f"{row['side']} erased" if row.get("side") else "")),
        l1=float("nan") if l1 in (None, "") else float(l1),
        png=png,
    )


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run; ``summary`` has the form of a run folder's summary.json.

    ``project`` is ``entity/project`` (the entity may be missing). ``order`` is when the run ended,
    or began, in UTC as text that sorts. ``question`` is the description of its sweep, where that
    is recorded. ``named``: asked for by itself, not as one of a folder or sweep. ``metric`` is
    what its sweep optimises. ``outdated``: of a setting that its sweep file no longer holds.
    """

    id: str
    name: str
    command: str
    state: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    project: str
    sweep: str | None
    sweep_file: str | None = None
    question: str = ""
    order: str
    url: str | None
    named: bool = False
    metric: str | None = None
    outdated: bool = False

    @property
    def reason(self) -> str | None:
        """Why the run ended in its state, if it says."""
        return self.summary.get("reason")

    @property
    def dataset(self) -> Mapping[str, Any]:
        return self.config.get("dataset") or {}

    @property
    def last(self) -> Mapping[str, float]:
        """Each metric at the end of the run."""
        found = (self.summary.get("last") or {}).items()
        return {k: v for k, v in found if isinstance(v, (int, float))}

    @property
    def best(self) -> Mapping[str, float]:
        """The metrics of the best validation."""
        return self.summary.get("best") or {}

    @property
    def day(self) -> str:
        return self.order[:10]

    def curve(self, metric: str) -> list[tuple[float, float]]:
        """Images seen and the metric wherever it was measured, oldest first."""
        raise NotImplementedError

    def examples(self) -> list[DemoPicture]:
        """The demo pictures at the end of the run; empty where none were recorded."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FolderRun(RunRecord):
    """A run read from its run folder."""

    folder: Path

    def curve(self, metric: str) -> list[tuple[float, float]]:
        rows = [row for row in csv_rows(self.folder / "metrics.csv") if row.get(metric)]
        with named_cells(self.folder / "metrics.csv"):
            return [(float(row["images_seen"]), float(row[metric])) for row in rows]

    def examples(self) -> list[DemoPicture]:
        file = self.folder / "tables" / "reconstructions.csv"
        with named_cells(file):
            return [demo_picture(row, self._png(row)) for row in csv_rows(file)]

    def _png(self, row: Mapping[str, str]) -> dict[str, bytes]:
        folder = self.folder / "pictures" / "demo"
        files = {kind: folder / f"{row['index']}-{kind}.png" for kind in PICTURE_KINDS}
        return {kind: file.read_bytes() for kind, file in files.items() if file.is_file()}


@contextlib.contextmanager
def named_cells(path: Path) -> Iterator[None]:
    """``with``: text in the place of a number becomes an ``InputError`` that names the file."""
    try:
        yield
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: damaged ({error}); put back a copy of it") from None


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where it does not exist. Raises ``InputError``."""
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def is_run_folder(folder: Path) -> bool:
    """Whether ``folder`` holds a run."""
    return (folder / "config.yaml").is_file() and (folder / "summary.json").is_file()


def read_run_folder(folder: Path) -> FolderRun:
    """The run in ``folder``; raises ``InputError`` for files that cannot be read."""
    config, summary = read_config(folder), read_summary(folder)
    if "run_id" not in summary:
        raise InputError(
            f"{folder}: summary.json cannot be read, or is not of this project; take the folder "
            "out, or train it again"
        )
    check_shape(str(folder), config, summary)
    sweep = config.get("sweep") or {}
    return FolderRun(
        id=str(summary["run_id"]),
        name=str(summary.get("name") or folder.name),
        command=command_of(config),
        state=str(summary.get("state")),
        config=config,
        summary=summary,
        project="/".join(str(config[key]) for key in ("entity", "project") if config.get(key)),
        sweep=sweep.get("name"),
        sweep_file=sweep.get("file"),
        order=recorded_time(config, summary, folder / "summary.json"),
        url=(summary.get("wandb") or {}).get("url"),
        folder=folder.resolve(),
    )


def check_shape(where: str, config: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """Raises ``InputError`` where a group of values is none, as in runs of other programs."""
    for holder, names in ((config, ("dataset", "network", "sweep")),
                          (summary, ("last", "best", "wandb"))):  # fmt: skip
        for name in names:
            if holder.get(name) and not isinstance(holder[name], Mapping):
                raise InputError(f"{where}: not a run of this project ({name} is no group)")
    for name, value in (config.get("sweep") or {}).items():
        if name in ("name", "file") and not isinstance(value, str | None):
            raise InputError(f"{where}: not a run of this project (sweep {name} is no text)")


def read_run_folders(folders: Iterable[Path]) -> list[FolderRun]:
    """``read_all`` of run folders."""
    return read_all(folders, read_run_folder)


def read_all(sources: Iterable[Source], read: Callable[[Source], Run]) -> list[Run]:
    """The runs found in a search; damaged ones are left out, with a line on stderr each.

    Raises ``InputError`` where all are damaged.
    """
    runs, problems = [], []
    for source in sources:
        try:
            runs.append(read(source))
        except InputError as error:
            problems.append(error)
    if problems and not runs:
        raise problems[0]
    for problem in problems:
        print(f"Left out: {problem}", file=sys.stderr)
    return runs
