"""Names, tags and tables within the limits of W&B."""

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.files import encodable
from common.media import Picture, Table

MAX_NAME = 128  # characters of a run name, group, job type, artifact name or project
MAX_TAG = 64


def cut(text: str | None, limit: int) -> str | None:
    """``text``, encodable in UTF-8 and of at most ``limit`` characters."""
    return None if text is None else encodable(text)[:limit]


def artifact_name(name: str) -> str:
    """``name`` as W&B takes it: ASCII letters, digits, ``_ . -``, at most 128 characters."""
    return re.sub(r"[^\w.-]", "-", name, flags=re.ASCII)[:MAX_NAME]


def data_files(dataset: Mapping[str, Any]) -> Path | None:
    """The path of a data set's files, None for one that was drawn.

    Configs of commit 73bab81 may hold a remark in parentheses after the path.
    """
    source = str(dataset["source"])
    for text in (source, source.rpartition(" (")[0]):
        if text and Path(text).exists():
            return Path(text)
    return None


def add_files_by_reference(artifact: Any, dataset: Mapping[str, Any]) -> bool:
    """Add references to the data set's files; False where it has none that W&B can name."""
    source = data_files(dataset)
    if source is None or any(str(p) != encodable(str(p)) for p in (source, *source.rglob("*"))):
        return False
    try:
        artifact.add_reference(source.resolve().as_uri(), name="images", checksum=False)
    except OSError:  # a link to itself or to nothing among the files, which W&B cannot skip
        return False
    return True


def wandb_table(table: Table) -> Any:
    """``table`` as a W&B table."""
    import wandb

    def cell(value: Any) -> Any:
        return wandb.Image(value.pixels) if isinstance(value, Picture) else encodable(value)

    rows = [[cell(value) for value in row] for row in table.rows]
    return wandb.Table(columns=encodable(list(table.columns)), data=rows)


@contextlib.contextmanager
def encodable_command_line() -> Iterator[None]:
    """wandb.init sends the command line, and fails where an argument holds lone bytes."""
    before, sys.argv = sys.argv, encodable(sys.argv)
    try:
        yield
    finally:
        sys.argv = before
