"""Which rows of tables are shown, in which order, and beside which baseline."""

import operator
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.errors import InputError
from reports.settings_of import natural, require
from reports.statistics import number
from reports.table import Row, Table, show
from tracking.record import FolderRun, RunRecord

COMPARE = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


def select(
    tables: Sequence[Table],
    *,
    sort: str | None = None,
    columns: Sequence[str] = (),
    where: Sequence[str] = (),
    top: int | None = None,
    baseline: str | None = None,
) -> list[Table]:
    """The tables with the chosen columns and rows; rows keep their place and statistics.

    ``sort`` is a column (``-column``: largest first), ``columns`` replaces the default ones.
    Raises ``InputError`` for an unknown column or baseline, and where no row is left.
    """
    known = {key for table in tables for row in table.rows for key in row.values}
    if baseline:
        known.add("from_baseline")
    for name in columns:
        require("--columns", name, known)
    if sort:
        require("--sort", sort.removeprefix("-"), known)
    for table in tables:
        table.columns = list(columns) or table.columns
    if baseline:
        _compare_with_baseline(tables, baseline)
    for table in tables:
        if sort:
            _sort(table.rows, sort)
        shown = [row for row in table.rows if all(meets(row, each, known) for each in where)]
        table.rows = shown[:top]
    if not any(table.rows for table in tables):
        raise InputError(f"--where {' '.join(where)}: no row meets this")
    return [table for table in tables if table.rows]


def _compare_with_baseline(tables: Sequence[Table], baseline: str) -> None:
    """Add the metric's difference in per cent from the row that holds the run ``baseline``."""
    found = False
    for table in tables:
        rows = [row for row in table.rows if any(_is(baseline, run) for run in row.runs)]
        if rows:
            found = True
            reference = rows[0].values[table.metric].mean
            if not reference:
                raise InputError(f"--baseline {baseline}: its {table.metric} is 0; give another")
            for row in table.rows:
                row.values["from_baseline"] = 100 * (row.values[table.metric].mean / reference - 1)
            if "from_baseline" not in table.columns:
                after = table.metric if table.metric in table.columns else table.columns[-1]
                table.columns.insert(table.columns.index(after) + 1, "from_baseline")
            table.notes.append(f"'from baseline' is the difference from {show(baseline)} in %.")
    if not found:
        raise InputError(
            f"--baseline {baseline}: none of the finished runs has this id, name or folder, for "
            f"example --baseline {tables[0].rows[0].runs[0].id}"
        )


def _is(text: str, run: RunRecord) -> bool:
    """Whether ``text`` is the run's id, name or folder."""
    folder = run.folder.resolve() if isinstance(run, FolderRun) else None
    return text in (run.id, run.name) or Path(text).resolve() == folder


def meets(row: Row, condition: str, known: Collection[str]) -> bool:
    """Whether a row meets ``NAME OP VALUE``; raises ``InputError`` for what is no condition."""
    match = re.fullmatch(r"\s*([\w/ -]+?)\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*", condition)
    if not match:
        raise InputError(f"--where {condition}: must be NAME<VALUE, for example 'lr<0.01'")
    name, sign, text = match.groups()
    require("--where", name, known)
    value, limit = number(row.values.get(name)), None
    with suppress(ValueError):
        limit = float(text)
    if sign in ("=", "==", "!="):
        same = text.lower() in (show(value).lower(), str(value).lower())
        same |= limit is not None and value == limit
        return same != (sign == "!=")
    if limit is None:
        raise InputError(f"--where {condition}: {text} must be a number")
    return isinstance(value, (int, float)) and COMPARE[sign](value, limit)


def _sort(rows: list[Row], sort: str) -> None:
    """Unknown values last, whatever the direction."""

    def key(row: Row) -> tuple[Any, ...]:
        return natural(number(row.values.get(sort.removeprefix("-"))))

    rows.sort(key=key, reverse=sort.startswith("-"))
    rows.sort(key=lambda row: key(row) == natural(None))
