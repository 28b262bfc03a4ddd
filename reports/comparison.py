"""The logbook's tables of runs: one row a setting, ranked by the metric, seeds joined."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from common.errors import InputError
from reports.csv_files import COMPOSITE, SIZES, CsvRun
from reports.notes import counted, metric_of, notes_of, reasons_of, state_of
from reports.published import METRIC, logbook_table, published
from reports.settings_of import ambiguous_names, require, settings_of, task_of, varying
from reports.statistics import LEVEL, Spread, from_best, spread
from reports.table import Row, Table, show
from sweeps.yaml_file import read_yaml
from tasks.metrics import goal_of
from tracking.record import RunRecord

ROOT = Path(__file__).resolve().parent.parent


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
        require("--metric", metric, {key for record in records for key in record.last})
        records = [replace(record, metric=metric) for record in records]
    for name in group_by:
        require("--group-by", name, {key for record in records for key in settings_of(record)})
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
    ambiguous = ambiguous_names([settings_of(record) for record in records])
    for record in records:
        settings = settings_of(record)
        checksum = settings["checksum"] if settings["data"] in ambiguous else ""
        group = (
            None if named else record.sweep, settings["data"], checksum,
            settings.get("corruption"), task_of(record),
        )  # fmt: skip
        groups.setdefault(group, []).append(record)
    tables = [_table(runs, named, goal, group_by) for runs in groups.values()]
    names = Counter(table.name for table in tables)
    corruptions, tasks = ({group[place] for group in groups} for place in (3, 4))
    for (_, data, checksum, corruption, task), table in zip(groups, tables, strict=True):
        if names[table.name] > 1:
            table.name += f" on {show(data)}"
            table.name += f" {checksum}" if checksum else ""
            table.name += f", {show(corruption)}" if corruption and len(corruptions) > 1 else ""
            table.name += f", {task}" if len(tasks) > 1 else ""
    return tables


def _table(
    records: Sequence[RunRecord], named: bool, goal: str | None, group_by: Sequence[str]
) -> Table:
    sweeps = {record.sweep for record in records}
    sweep = records[0].sweep if len(sweeps) == 1 else None
    # Nets trained on the composite are not trained on undamaged pixels: where some were, all are
    # ranked by the composite's error.
    metrics = [metric_of(record) for record in records]
    metric = COMPOSITE if COMPOSITE in metrics else metrics[0]
    records = [replace(record, metric=metric) for record in records]
    largest_first = (goal or goal_of(metric)) == "maximize"
    usable = [r for r in records if state_of(r) == "finished"]
    rows, repeats = _rows(usable, named)
    for row in rows:
        row.values = _values(row, metric)
    if group_by:
        rows = _grouped(rows, group_by, metric, max if largest_first else min)
    _rank(rows, metric, largest_first, compare=not group_by)
    names = list(group_by)
    if rows and not names:
        several = [r.settings for r in rows] if len(rows) > 1 else list(map(settings_of, records))
        names = varying(several, records[0].command)
    table = Table(
        name=show(sweep or "runs"),
        task=task_of(records[0]),
        question=next(filter(None, map(_question_of, records)), "") if sweep else "",
        metric=metric,
        varying=names,
        columns=_default_columns(rows, names, metric),
        rows=rows,
        left_out=[r for r in records if state_of(r) != "finished"],
        grouped=bool(group_by),
    )
    table.notes = notes_of(table, sweep, repeats)
    return table


def _question_of(record: RunRecord) -> str:
    """The header of the sweep file that a run came from, where it is still of the same name.

    The file is looked for as recorded, then as ``<sweep>.yaml`` in the project's sweep_configs/.
    """
    if record.question:
        return record.question
    name = logbook_table(record.sweep)
    for path in (Path(str(record.sweep_file or "")), ROOT / "sweep_configs" / f"{name}.yaml"):
        if name and path.is_file():
            try:
                config, header = read_yaml(path)
            except InputError:  # broken now; the runs can be read all the same
                continue
            if config.get("name", path.stem) == name:
                return header
    return ""


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
        group.values = _values(group, metric)
        distinct = {str({**m.settings, "run": None}) for m in members}
        group.values |= {"joined": len(distinct), "group_runs": len(group.runs)}
        if len(distinct) > 1:  # the logbook's values are of one setting each
            group.values |= dict.fromkeys(("published", "difference", "test_difference"))
        group.values["best_setting"] = best(member.values[metric].mean for member in members)
        for key in SIZES:
            if len({member.values[key] for member in members}) > 1:
                group.values[key] = None
        joined.append(group)
    return joined


def _rank(rows: list[Row], metric: str, largest_first: bool, compare: bool) -> None:
    """Sort best first, equals with one place; compare each row with the best one."""
    rows.sort(key=lambda row: row.values[metric].mean, reverse=largest_first)
    means = [row.values[metric].mean for row in rows]
    seeds = [row.by_seed(metric) for row in rows]
    differences = from_best(seeds) if compare else [None] * len(rows)
    for number, (row, found) in enumerate(zip(rows, differences, strict=True)):
        verdict = "cannot tell" if found is None else "yes" if found.p < LEVEL else "no"
        row.values |= {"place": means.index(means[number]) + 1, "from_best": found}
        row.values["differs"] = verdict if number else "best"


def _rows(records: Sequence[RunRecord], named: bool) -> tuple[list[Row], int]:
    """Rows by setting, and how many older runs of a seed were replaced by its newest.

    A ``named`` run, and one of a CSV file, is never replaced: a rerun has a row of its own, told
    apart by ``run``.
    """
    by_seed: dict[tuple[str, int], dict[Any, RunRecord]] = defaultdict(dict)
    for record in records:
        setting = str(sorted(settings_of(record).items(), key=str))
        seed, repeat = record.config.get("seed"), 0
        while (named or isinstance(record, CsvRun)) and seed in by_seed[setting, repeat]:
            repeat += 1
        by_seed[setting, repeat][seed] = record
    runs = [list(each.values()) for each in by_seed.values()]
    rows = [Row(settings_of(each[0]), each) for each in runs]
    if any(repeat for _, repeat in by_seed):
        for row in rows:
            row.settings["run"] = ", ".join(
                run.name if isinstance(run, CsvRun) else f"{run.name}-{run.id}" for run in row.runs
            )
    return rows, len(records) - sum(len(row.runs) for row in rows)


def _values(row: Row, metric: str) -> dict[str, Any]:
    def mean(name: str) -> float | None:
        found = [value for run in row.runs if (value := run.summary.get(name)) is not None]
        return fmean(found) if found else None

    first, seconds = row.runs[0], mean("seconds")
    metrics = sorted({key for run in row.runs for key in run.last})
    values = dict(row.settings)
    values |= {key: spread([r.last[key] for r in row.runs if key in r.last]) for key in metrics}
    values |= {key: first.summary.get(key) for key in SIZES}
    values["minutes"] = seconds and seconds / 60
    values["images_per_second"] = mean("images_per_second")
    if isinstance(first, CsvRun) and len(row.runs) == 1:
        for key, std in first.spreads.items():
            values[key] = Spread(first.last[key], std)
    values["runs"] = sum(r.seeds if isinstance(r, CsvRun) else 1 for r in row.runs)
    values["names"] = " ".join(run.name for run in row.runs)
    sweeps = {run.sweep for run in row.runs} if metric == METRIC[task_of(first)] else ()
    found = (published(sweep, row.settings, values["parameters"]) for sweep in sweeps)
    values["published"] = next((value for value in found if value is not None), None)
    test = metric.replace("val/", "test/", 1)
    for name, key in (("difference", metric), ("test_difference", test)):
        ours, known = values.get(key), values["published"] is not None
        values[name] = ours.mean - values["published"] if ours and known else None
    return values


def _default_columns(rows: Sequence[Row], names: Sequence[str], metric: str) -> list[str]:
    def known(column: str, *but: Any) -> bool:
        return any(row.values.get(column) not in (None, "", *but) for row in rows)

    columns = ["place", *names]
    if known("joined"):
        columns += ["joined", "group_runs"]
    elif known("runs", 1):
        columns.append("runs")
    columns.append(metric)
    optional = ("best_setting", "test/accuracy", "published", "difference", "test_difference")
    columns += [column for column in optional if known(column) and column != metric]
    if known("from_best"):
        columns += ["differs", "from_best"]
    return [*columns, "parameters", "minutes", "images_per_second"]
