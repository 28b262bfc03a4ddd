"""One finished or unfinished run as the reports see it, wherever it was recorded."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from common.errors import InputError
from reports.published import logbook_table
from sweeps.yaml_file import read_yaml

ROOT = Path(__file__).resolve().parent.parent
PICTURE_KINDS = ("input", "output", "target", "error")


@dataclass(frozen=True)
class DemoPicture:
    """One picture of the demo set: PNG bytes by kind, errors as mean absolute difference."""

    index: int
    class_name: str
    side: str
    l1: float
    l1_erased: float
    png: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a report needs of a run; ``summary`` has the form of a run folder's summary.json.

    ``project`` is ``entity/project`` (the entity may be missing), ``order`` is the time (UTC) of
    the record, as text that sorts. ``named`` is a run that was asked for by itself, not as one of
    a folder or sweep.
    """

    id: str
    name: str
    task: str
    state: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    project: str
    sweep: str | None
    question: str
    order: str
    url: str | None
    named: bool = False

    @property
    def day(self) -> str:
        """The day of the record."""
        return self.order[:10]

    def curve(self, metric: str) -> list[tuple[float, float]]:
        """Images seen and the metric wherever it was measured, oldest first."""
        raise NotImplementedError

    def pictures(self) -> list[DemoPicture]:
        """The demo set at the end of the run; empty where none was recorded."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FolderRun(RunRecord):
    """A run read from its run folder."""

    folder: Path

    def curve(self, metric: str) -> list[tuple[float, float]]:
        path = self.folder / "metrics.csv"
        if not path.is_file():
            return []
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get(metric)]
        return [(float(row["images_seen"]), float(row[metric])) for row in rows]

    def pictures(self) -> list[DemoPicture]:
        path = self.folder / "tables" / "reconstructions.csv"
        if not path.is_file():
            return []
        with open(path, newline="", encoding="utf-8") as file:
            return [self._picture(row) for row in csv.DictReader(file)]

    def _picture(self, row: Mapping[str, str]) -> DemoPicture:
        folder = self.folder / "pictures" / "demo"
        files = {kind: folder / f"{row['index']}-{kind}.png" for kind in PICTURE_KINDS}
        return DemoPicture(
            index=int(row["index"]),
            class_name=row["class"],
            side=row["side"],
            l1=float(row["l1"]),
            l1_erased=float(row["l1_erased"]),
            png={kind: file.read_bytes() for kind, file in files.items() if file.is_file()},
        )


def is_run_folder(folder: Path) -> bool:
    """Whether ``folder`` holds a run."""
    return (folder / "config.yaml").is_file() and (folder / "summary.json").is_file()


def read_run_folder(folder: Path) -> FolderRun:
    """The run in ``folder``; raises ``InputError`` for files that cannot be read."""
    import yaml

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, json.JSONDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{folder}: config.yaml and summary.json cannot be read ({reason}); take the folder "
            "out, or train it again"
        ) from None
    for name, read in (("config.yaml", config), ("summary.json", summary)):
        if not isinstance(read, dict) or "run_id" not in read:  # it is near the end of config.yaml
            raise InputError(
                f"{folder}: {name} is cut short, or not of this project (no run_id in it); take "
                "the folder out, or train it again"
            )
    sweep = config.get("sweep") or {}
    written = (folder / "summary.json").stat().st_mtime
    return FolderRun(
        id=str(summary["run_id"]),
        name=str(summary.get("name") or folder.name),
        task=str(summary.get("task") or config.get("task")),
        state=str(summary.get("state")),
        config=config,
        summary=summary,
        project="/".join(filter(None, (config.get("entity"), config.get("project")))),
        sweep=sweep.get("name"),
        question=question_of(sweep.get("name"), sweep.get("file")),
        order=datetime.fromtimestamp(written, timezone.utc).isoformat(timespec="microseconds"),
        url=(summary.get("wandb") or {}).get("url"),
        folder=folder.resolve(),
    )


def read_run_folders(folders: Iterable[Path]) -> list[FolderRun]:
    """The runs found in a search; the damaged ones are left out, with a line on stderr each.

    Raises ``InputError`` where all are damaged.
    """
    runs, problems = [], []
    for folder in folders:
        try:
            runs.append(read_run_folder(folder))
        except InputError as error:
            problems.append(error)
    if problems and not runs:
        raise problems[0]
    for problem in problems:
        print(f"Left out: {problem}", file=sys.stderr)
    return runs


def question_of(sweep: str | None, file: str | None = None) -> str:
    """The header of the sweep file a run came from, if it is still there under the same name.

    ``file`` is looked for as it stands, then ``<sweep>.yaml`` in the project's sweep_configs/.
    """
    name = logbook_table(sweep)
    for path in (Path(file or ""), ROOT / "sweep_configs" / f"{name}.yaml"):
        if name and path.is_file():
            config, header = read_yaml(path)
            if config.get("name", path.stem) == name:
                return header
    return ""
