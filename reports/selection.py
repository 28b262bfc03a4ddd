"""Which rows of tables are shown, in which order, and beside which baseline."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from common.errors import InputError, nearest
from reports.settings_of import natural
from reports.statistics import Difference, Spread
from reports.table import Row, Table
from reports.words import show


def number(value: Any) -> Any:
    """The mean of a spread or difference; any other value as it is."""
    return value.mean if isinstance(value, (Spread, Difference)) else value


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

    ``sort`` is a column (``-column`` for falling), ``columns`` replaces the default ones.
    Raises ``InputError`` for an unknown column or baseline, and where no row is left.
    """
    if baseline:
        _compare_with_baseline(tables, baseline)
    known = {key for table in tables for row in table.rows for key in row.values}
    for name in (*columns, *([sort.removeprefix("-")] if sort else [])):
        if name not in known:
            hint = f"{nearest(name, known)} There are {', '.join(sorted(known))}"
            raise InputError(f"{name}: no such column.{hint}")
    for table in tables:
        table.columns = list(columns) or table.columns
        if sort:
            _sort(table.rows, sort)
        shown = [row for row in table.rows if all(meets(row, each, known) for each in where)]
        table.rows = shown[:top]
    if not any(table.rows for table in tables):
        raise InputError(f"--where {' '.join(where)}: no row meets this")
    return [table for table in tables if table.rows]


def _compare_with_baseline(tables: Sequence[Table], baseline: str) -> None:
    """Add the metric's difference in per cent from the row that holds the run ``baseline``."""
    for table in tables:
        rows = [r for r in table.rows if any(baseline in (run.id, run.name) for run in r.runs)]
        reference = rows[0].values[table.metric].mean if rows else None
        for row in table.rows if reference else ():
            row.values["from_baseline"] = 100 * (row.values[table.metric].mean / reference - 1)
        if reference:
            table.columns.insert(table.columns.index(table.metric) + 1, "from_baseline")
            table.notes.append(f"'from baseline' is the difference from {show(baseline)} in %.")
    if not any("from_baseline" in table.columns for table in tables):
        raise InputError(
            f"--baseline {baseline}: none of the finished runs has this id or name, for example "
            f"--baseline {tables[0].rows[0].runs[0].id}"
        )


def meets(row: Row, condition: str, known: Iterable[str]) -> bool:
    """Whether a row meets ``NAME OP VALUE``; raises ``InputError`` for what is no condition."""
    match = re.fullmatch(r"\s*([\w/ -]+?)\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*", condition)
    if not match:
        raise InputError(f"--where {condition}: must be NAME<VALUE, for example 'lr<0.01'")
    name, sign, text = match.groups()
    if name not in known:
        raise InputError(f"--where {condition}: no column {name}.{nearest(name, known)}")
    value = number(row.values.get(name))
    if sign in ("=", "==", "!="):
        try:
            same = float(value) == float(text)
        except (TypeError, ValueError):
            same = text.lower() in (show(value).lower(), str(value).lower())
        return same != (sign == "!=")
    try:
        limit = float(text)
    except ValueError:
        raise InputError(f"--where {condition}: {text} must be a number") from None
    if isinstance(value, str) or value is None:
        return False
    answers = {"<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit}
    return answers[sign]


def _sort(rows: list[Row], sort: str) -> None:
    def key(row: Row) -> tuple[Any, ...]:
        return natural(number(row.values.get(sort.removeprefix("-"))))

    known = [row for row in rows if key(row) < natural(None)]
    unknown = [row for row in rows if row not in known]
    rows[:] = sorted(known, key=key, reverse=sort.startswith("-")) + unknown
