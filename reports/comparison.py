"""The logbook's tables of runs: one row a setting, ranked by the metric, seeds joined."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from common.errors import InputError, nearest
from reports.csv_files import CsvRun
from reports.notes import counted, metric_of, notes_of, reasons_of, state_of
from reports.published import METRIC, published
from reports.settings_of import namesakes, require_settings, settings_of, task_of, varying
from reports.statistics import LEVEL, Spread, from_best, spread
from reports.table import Row, Table
from reports.words import show
from tasks.metrics import goal_of
from tracking.record import RunRecord

_SIZES = ("parameters", "receptive_field", "multiply_adds")  # the same for all seeds of a setting


def tables_of(
    records: Sequence[RunRecord],
    *,
    metric: str | None = None,
    goal: str | None = None,
    group_by: Sequence[str] = (),
) -> list[Table]:
    """One table a task, sweep, data set and corruption, in the order of their first runs.

    Runs named one by one stand together whatever their sweeps. Rows are ranked by ``metric``, else
    by that of their sweep file, else by the objective of the task. ``goal`` (minimize or maximize)
    replaces the metric's own direction. ``group_by`` names settings: each combination of their
    values has one row. Raises ``InputError`` for a metric or setting that no run has, or where no
    run is finished.
    """
    if metric:
        logged = {key for record in records for key in record.last}
        if metric not in logged:
            hint = f"{nearest(metric, logged)} There are {', '.join(sorted(logged))}"
            raise InputError(f"--metric {metric}: no run has it.{hint}")
        records = [replace(record, metric=metric) for record in records]
    require_settings(group_by, records)
    every = _tables(records, goal, group_by)
    tables = [table for table in every if table.rows]
    if not tables:
        raise InputError(
            f"none of the {len(records)} runs is finished ({counted(records)}); nothing to show"
        )
    for table in every:
        if not table.rows:
            left_out = f"{table.name}: no finished run ({counted(table.left_out)})."
            tables[0].notes += [left_out, *reasons_of(table)]
    return tables


def _tables(records: Sequence[RunRecord], goal: str | None, group_by: Sequence[str]) -> list[Table]:
    named = all(record.named for record in records)
    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    ambiguous = namesakes([settings_of(record) for record in records])
    for record in records:
        settings = settings_of(record)
        checksum = settings["checksum"] if settings["data"] in ambiguous else ""
        images = (settings["data"], checksum, settings.get("corruption"))
        group = (task_of(record), None if named else record.sweep, *images)
        groups.setdefault(group, []).append(record)
    tables = [_table(runs, named, goal, group_by) for runs in groups.values()]
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


def _table(
    records: Sequence[RunRecord], named: bool, goal: str | None, group_by: Sequence[str]
) -> Table:
    sweep = records[0].sweep
    if any(record.sweep != sweep for record in records):
        sweep = None
    records = _by_one_metric(records)
    metric, task = metric_of(records[0]), task_of(records[0])
    falling = (goal or goal_of(metric)) == "maximize"
    usable = [r for r in records if state_of(r) == "finished"]
    rows, repeats = _rows(usable, named)
    for row in rows:
        row.values = _values(row, metric, task)
    if group_by:
        rows = _grouped(rows, group_by, metric, max if falling else min)
    _rank(rows, metric, falling, compare=not group_by)
    names = list(group_by)
    if rows and not names:
        names = varying([row.settings for row in rows], records[0].command)
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
        grouped=bool(group_by),
    )
    table.notes = notes_of(table, sweep, repeats)
    return table


def _by_one_metric(records: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """The runs, all ranked by the same metric.

    Nets trained on the composite do not answer for the undamaged pixels: where some were, all are
    ranked by the composite's error.
    """
    metrics = {metric_of(record) for record in records}
    if len(metrics) < 2:
        return records
    composite = "val/l1_composite"
    metric = composite if composite in metrics else metric_of(records[0])
    return [replace(record, metric=metric) for record in records]


def _grouped(
    rows: Sequence[Row], keys: Sequence[str], metric: str, best: Callable[..., float]
) -> list[Row]:
    """One row for each combination of the settings ``keys``, over all runs that have it."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str([row.settings.get(key) for key in keys]), []).append(row)
    joined = []
    for members in groups.values():
        first = members[0].settings
        common = {k: v for k, v in first.items() if all(m.settings.get(k) == v for m in members)}
        group = Row(common, [run for member in members for run in member.runs])
        group.values = _values(group, metric, task_of(group.runs[0]))
        group.values |= {"joined": len(members), "group_runs": len(group.runs)}
        group.values["best_setting"] = best(member.values[metric].mean for member in members)
        for key in _SIZES:
            if len({member.values[key] for member in members}) > 1:
                group.values[key] = None
        joined.append(group)
    return joined


def _rank(rows: list[Row], metric: str, falling: bool, compare: bool) -> None:
    """Sort best first, equals with one place; compare each row with the best one."""
    rows.sort(key=lambda row: row.values[metric].mean, reverse=falling)
    means = [row.values[metric].mean for row in rows]
    seeds = [row.by_seed(metric) for row in rows]
    differences = from_best(seeds) if compare else [None] * len(rows)
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
    values |= {key: first.get(key) for key in _SIZES}
    seconds, rate = means(lambda s: s.get("seconds")), means(lambda s: s.get("images_per_second"))
    values["minutes"] = seconds.mean / 60 if seconds else None
    values["images_per_second"] = rate.mean if rate else None
    if len(row.runs) == 1 and isinstance(row.runs[0], CsvRun):
        file = row.runs[0]
        for key, std in file.spreads.items():
            values[key] = Spread(file.last[key], std, file.seeds)
    values["runs"] = sum(r.seeds if isinstance(r, CsvRun) else 1 for r in row.runs)
    values["names"] = " ".join(run.name for run in row.runs)
    sweeps = {run.sweep for run in row.runs} if metric == METRIC[task] else ()
    found = (published(sweep, row.settings, values["parameters"]) for sweep in sweeps)
    values["published"] = next((value for value in found if value is not None), None)
    test = metric.replace("val/", "test/", 1)
    for name, key in (("difference", metric), ("test_difference", test)):
        ours, known = values.get(key), values["published"] is not None
        values[name] = ours.mean - values["published"] if ours and known else None
    return values


def _default_columns(rows: Sequence[Row], names: Sequence[str], metric: str) -> list[str]:
    def any_row(column: str, *but: Any) -> bool:
        return any(row.values[column] not in (None, "", *but) for row in rows)

    runs = ["runs"] if any_row("runs", 1) else []
    return [
        "place",
        *names,
        *(["joined", "group_runs"] if any("joined" in row.values for row in rows) else runs),
        metric,
        *(["best_setting"] if any("best_setting" in row.values for row in rows) else []),
        *(["test/accuracy"] if any("test/accuracy" in row.values for row in rows) else []),
        *(["published", "difference"] if any_row("published") else []),
        *(["test_difference"] if any_row("test_difference") else []),
        *(["differs", "from_best"] if any_row("from_best") else []),
        "parameters",
        "minutes",
        "images_per_second",
    ]
