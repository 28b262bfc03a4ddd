"""The logbook's table: one row a setting, ranked by the validation metric, seeds joined."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from common.errors import InputError, nearest
from experiment.settings import objective_of
from reports.notes import counted, metric_of, notes_of, state_of
from reports.published import published
from reports.settings_of import natural, settings_of, task_of, varying
from reports.statistics import LEVEL, Difference, Spread, from_best, spread
from reports.words import show, title
from tasks.metrics import goal_of
from tracking.record import RunRecord


@dataclass
class Row:
    """One setting: its runs (one a seed), their means, and what a column shows of it."""

    settings: dict[str, Any]
    runs: list[RunRecord]
    values: dict[str, Any] = field(default_factory=dict)

    def label(self, names: Sequence[str]) -> str:
        """The settings in ``names``, for legends: ``ks 3:9, ch 32``."""
        return ", ".join(f"{title(n)} {show(self.settings.get(n))}" for n in names)

    def by_seed(self, metric: str) -> dict[Any, float]:
        """The final values of the metric by seed."""
        values = {run.config.get("seed"): run.last.get(metric) for run in self.runs}
        return {seed: value for seed, value in values.items() if value is not None}


@dataclass
class Table:
    """The comparison of one sweep's runs (or of runs outside any sweep)."""

    name: str
    task: str
    question: str
    metric: str
    varying: list[str]
    columns: list[str]
    rows: list[Row]
    notes: list[str]
    left_out: list[RunRecord]


def plain(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """A row's raw numbers; a mean over seeds has its spread in ``<column>_std``."""
    plain: dict[str, Any] = {}
    for column in columns:
        value = row.values.get(column)
        if isinstance(value, Spread):
            plain[column] = value.mean
            if value.std is not None:
                plain[f"{column}_std"] = value.std
        elif isinstance(value, Difference):
            plain[column] = value.mean
            plain |= {f"{column}_{part}": getattr(value, part) for part in ("low", "high", "p")}
        else:
            plain[column] = value
    return plain


def tables_of(
    records: Sequence[RunRecord],
    *,
    sort: str | None = None,
    columns: Sequence[str] = (),
    metric: str | None = None,
    goal: str | None = None,
    where: Sequence[str] = (),
    top: int | None = None,
    baseline: str | None = None,
) -> list[Table]:
    """One table a task, sweep, data set and corruption, in the order of their first runs.

    Runs named one by one stand together whatever their sweeps.

    ``sort`` is a column (``-column`` for falling), ``columns`` replaces the default ones. Rows are
    ranked by ``metric``, else by that of their sweep file, else by the objective of the task.
    ``goal`` (minimize or maximize) replaces the metric's own direction. Rows keep their place and
    statistics where conditions ``where`` or the first ``top`` leave others out.
    Raises ``InputError`` for a column or metric that no run has, or where no run is finished.
    """
    if metric:
        logged = {key for record in records for key in record.last}
        if metric not in logged:
            hint = f"{nearest(metric, logged)} There are {', '.join(sorted(logged))}"
            raise InputError(f"--metric {metric}: no run has it.{hint}")
        records = [replace(record, metric=metric) for record in records]
    tables = [table for table in _tables(records, goal) if table.rows]
    if not tables:
        raise InputError(
            f"none of the {len(records)} runs is finished ({counted(records)}); nothing to show"
        )
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
    value = row.values.get(name)
    value = value.mean if isinstance(value, (Spread, Difference)) else value
    if sign in ("=", "==", "!="):
        try:
            same = float(value) == float(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            same = text.lower() in (show(value).lower(), str(value).lower())
        return same != (sign == "!=")
    try:
        limit = float(text)
    except ValueError:
        raise InputError(f"--where {condition}: {text} must be a number") from None
    if isinstance(value, str) or value is None:
        return False
    return {"<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit}[
        sign
    ]


def _tables(records: Sequence[RunRecord], goal: str | None) -> list[Table]:
    named = all(record.named for record in records)
    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    namesakes = _namesakes([settings_of(record) for record in records])
    for record in records:
        settings = settings_of(record)
        checksum = settings["checksum"] if settings["data"] in namesakes else ""
        images = (settings["data"], checksum, settings.get("corruption"))
        group = (task_of(record), None if named else record.sweep, *images)
        groups.setdefault(group, []).append(record)
    tables = [_table(runs, named, goal) for runs in groups.values()]
    names = Counter(table.name for table in tables)
    for (task, _, data, checksum, corruption), table in zip(groups, tables, strict=True):
        if names[table.name] < 2:
            continue
        others = [group for group, other in zip(groups, tables, strict=True) if other is not table]
        table.name += f" on {show(data)}"
        if any(other[2] == data and other[3] != checksum for other in others):
            table.name += f" {checksum}"
        if any(other[4] != corruption for other in others) and corruption:
            table.name += f", {show(corruption)}"
        if any(other[0] != task for other in others):
            table.name += f", {task}"
    return tables


def _namesakes(settings: Sequence[dict[str, Any]]) -> set[str]:
    """Names that stand for several data sets, told apart by checksum alone."""
    found: dict[tuple[Any, ...], set[str]] = {}
    for each in settings:
        prepared = tuple(each.get(key) for key in ("data", "size", "train_images", "val_images"))
        found.setdefault(prepared, set()).add(each["checksum"])
    return {key[0] for key, checksums in found.items() if len(checksums) > 1}


def _sort(rows: list[Row], sort: str) -> None:
    def key(row: Row) -> tuple[Any, ...]:
        value = row.values.get(sort.removeprefix("-"))
        return natural(value.mean if isinstance(value, (Spread, Difference)) else value)

    known = [row for row in rows if key(row) < natural(None)]
    unknown = [row for row in rows if row not in known]
    rows[:] = sorted(known, key=key, reverse=sort.startswith("-")) + unknown


def _table(records: Sequence[RunRecord], named: bool, goal: str | None) -> Table:
    task, sweep = records[0].task, records[0].sweep
    if any(record.sweep != sweep for record in records):
        sweep = None
    metric = metric_of(records[0])
    goal = goal or goal_of(metric)
    usable = [r for r in records if state_of(r) == "finished"]
    rows, repeats = _rows(usable, named)
    for row in rows:
        row.values = _values(row, metric, task)
    _rank(rows, metric, falling=goal == "maximize")
    names = varying([row.settings for row in rows], task) if rows else []
    table = Table(
        name=show(sweep or "runs"),
        task=task,
        question=next((r.question for r in records if sweep and r.question), ""),
        metric=metric,
        varying=names,
        columns=_default_columns(rows, names, metric),
        rows=rows,
        notes=[],
        left_out=[r for r in records if state_of(r) != "finished"],
    )
    table.notes = notes_of(table, sweep, repeats)
    return table


def _rank(rows: list[Row], metric: str, falling: bool) -> None:
    """Sort best first, equals with one place; compare each row with the best one."""
    rows.sort(key=lambda row: row.values[metric].mean, reverse=falling)
    means = [row.values[metric].mean for row in rows]
    differences = from_best([row.by_seed(metric) for row in rows])
    for number, (row, found) in enumerate(zip(rows, differences, strict=True)):
        verdict = "cannot tell" if found is None else "yes" if found.p < LEVEL else "no"
        row.values |= {"place": means.index(means[number]) + 1, "from_best": found}
        row.values["differs"] = verdict if number else "best"


def _rows(records: Sequence[RunRecord], named: bool) -> tuple[list[Row], int]:
    """Rows by setting, and how many older runs of a seed were replaced by its newest.

    A ``named`` run is never replaced: a rerun has a row of its own, told apart by ``run``.
    """
    rows: dict[tuple[str, int], Row] = {}
    newest: dict[tuple[str, int, Any], RunRecord] = {}
    seen: Counter[tuple[str, Any]] = Counter()
    for record in records:
        settings, seed = settings_of(record), record.config.get("seed")
        text = str(sorted(settings.items(), key=str))
        repeat = seen[text, seed] if named else 0
        seen[text, seed] += 1
        rows.setdefault((text, repeat), Row(settings, []))
        newest[text, repeat, seed] = record
    for (text, repeat, _), record in newest.items():
        rows[text, repeat].runs.append(record)
    if any(repeat for _, repeat in rows):
        for row in rows.values():
            row.settings["run"] = ", ".join(f"{run.name}-{run.id}" for run in row.runs)
    return list(rows.values()), len(records) - len(newest)


def _values(row: Row, metric: str, task: str) -> dict[str, Any]:
    def means(read: Any) -> Spread | None:
        found = [value for run in row.runs if (value := read(run.summary)) is not None]
        return spread(found) if found else None

    first = row.runs[0].summary
    metrics = sorted({key for run in row.runs for key in run.summary.get("last", {})})
    values = dict(row.settings)
    values |= {key: means(lambda s, key=key: s.get("last", {}).get(key)) for key in metrics}
    values |= {key: first.get(key) for key in ("parameters", "receptive_field", "multiply_adds")}
    seconds, rate = means(lambda s: s.get("seconds")), means(lambda s: s.get("images_per_second"))
    values["minutes"] = seconds.mean / 60 if seconds else None
    values["images_per_second"] = rate.mean if rate else None
    values["runs"] = len(row.runs)
    values["names"] = " ".join(run.name for run in row.runs)
    found = (published(task, r.sweep, row.settings, values["parameters"]) for r in row.runs)
    values["published"] = next((value for value in found if value is not None), None)
    if metric != objective_of(row.runs[0].config):
        values["published"] = None
    ours_by_name = {"difference": values[metric], "test_difference": values.get(_test(metric))}
    for name, ours in ours_by_name.items():
        known = ours is not None and values["published"] is not None
        values[name] = ours.mean - values["published"] if ours and known else None
    return values


def _test(metric: str) -> str:
    return "test/" + metric.rpartition("/")[2]


def _default_columns(rows: Sequence[Row], names: Sequence[str], metric: str) -> list[str]:
    def any_row(column: str, *but: Any) -> bool:
        return any(row.values[column] not in (None, "", *but) for row in rows)

    return [
        "place",
        *names,
        *(["runs"] if any_row("runs", 1) else []),
        metric,
        *(["test/accuracy"] if any("test/accuracy" in row.values for row in rows) else []),
        *(["published", "difference"] if any_row("published") else []),
        *(["test_difference"] if any_row("test_difference") else []),
        *(["differs", "from_best"] if any_row("from_best") else []),
        "parameters",
        "minutes",
        "images_per_second",
    ]
