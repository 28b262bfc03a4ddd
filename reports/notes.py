"""The notes below a comparison: what was left out, and what forbids a comparison."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from experiment.settings import objective_of
from reports.published import BUDGET, net_of, other_training, rows_of
from reports.settings_of import natural, settings_of
from reports.statistics import RULE, seed_spread
from reports.table import Row, Table, runs_of, show, title
from tracking.record import RunRecord

LISTED = 20  # runs left out that are named one by one
UNLIKE = (
    ("images", "Trained on different numbers of images", "unknown"),
    ("val_images", "Validated on different numbers of images", "all"),
    ("size", "Images of different sizes", "unknown"),
)
NOT_IN_FILE = "of settings that the sweep file no longer holds"


def metric_of(record: RunRecord) -> str:
    return record.metric or objective_of(record.config)


def state_of(record: RunRecord) -> str:
    """The run's state; a finished run that never measured the metric does not count as one.

    A killed run could not say so: its state is still running.
    """
    if record.outdated:
        return NOT_IN_FILE
    metric = metric_of(record)
    if record.state == "finished" and record.last.get(metric) is None:
        return f"without {metric}"
    return "running or killed" if record.state == "running" else record.state


def counted(records: Sequence[RunRecord]) -> str:
    return ", ".join(f"{n} {state}" for state, n in Counter(map(state_of, records)).items())


def notes_of(table: Table, sweep: str | None, repeats: int) -> list[str]:
    notes = [_about_seeds(table)] if table.grouped or len(table.rows) > 1 else []
    if table.left_out:
        hint = " (--all shows them)" if any(r.outdated for r in table.left_out) else ""
        notes.append(f"Left out: {counted(table.left_out)}{hint}.")
        reasons = reasons_of(table)
        notes += reasons[:LISTED]
        if len(reasons) > LISTED:
            notes.append(f"And {len(reasons) - LISTED} more.")
    notes += _stopped_seeds(table)
    for name, what, missing in UNLIKE:
        found = {settings_of(run).get(name) for run in runs_of([table])}
        if len(found) > 1:
            shown = [missing if n is None else _counted(n) for n in sorted(found, key=natural)]
            listed = f"{', '.join(shown[:-1])} and {shown[-1]}"
            notes.append(f"{what} ({listed}): no fair ranking.")
    if repeats:
        runs = "an older run" if repeats == 1 else f"{repeats} older runs"
        notes.append(f"Left out: {runs} of a setting and seed that was run again.")
    return notes + _published_notes(table, sweep)


def _counted(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else show(value)


def _about_seeds(table: Table) -> str:
    if table.grouped:
        return (
            "Each row joins all settings and seeds that share "
            f"{', '.join(map(title, table.varying))}: ± is the spread between them, 'best setting' "
            "the mean of the best one. No differences are claimed between groups."
        )
    if "differs" in table.columns:
        return RULE
    means = (row.values[table.metric].std is not None for row in table.rows if len(row.runs) == 1)
    if any(row.values["runs"] > len(row.runs) for row in table.rows) or any(means):
        return "The file has only means: differences cannot be tested."
    known = seed_spread([row.by_seed(table.metric) for row in table.rows])
    return (
        "Too few seeds to test the differences from the best: it, or all others, have one seed "
        "(train with --seeds 3)."
        + (f" Known spread between seeds: {known:.2g} (standard deviation)." if known else "")
    )


def reasons_of(table: Table) -> list[str]:
    """A line for each run left out: its state, its name, and why it ended so."""
    return [
        f"{show(state_of(run)).capitalize()}: {show(run.name)} ({run.id})"
        + (f": {show(run.reason)}" if run.reason else "")
        for run in table.left_out
        if not run.outdated
    ]


def _stopped_seeds(table: Table) -> list[str]:
    """Settings whose mean lacks seeds that were stopped early, and how far those came."""
    stopped = [run for run in table.left_out if run.state == "stopped" and not run.outdated]
    notes = []
    for row in table.rows:
        seen = sorted(
            run.summary.get("images_seen") or 0
            for run in stopped
            if settings_of(run) == row.settings
        )
        if seen:
            notes.append(
                f"{row.label(table.varying)}: the mean is of {len(row.runs)} finished seeds; "
                f"{len(seen)} stopped early (after {', '.join(f'{n:,}' for n in seen)} images) are "
                "not in it."
            )
    return notes


def _published_notes(table: Table, sweep: str | None) -> list[str]:
    if "published" not in table.columns:
        return []
    if table.task == "classification":
        return [
            "Published: accuracy on Kaggle's hidden test set, one run each, recipe not published; "
            "difference is our validation accuracy minus it, test difference our test accuracy."
        ]
    notes = ["Published: the logbook's value, one run each; difference is ours minus published."]
    matched = len({net_of(r.settings) for r in table.rows if r.values["published"] is not None})
    if matched < rows_of(sweep):
        notes.append(f"{matched} of the logbook's {rows_of(sweep)} rows have a finished run here.")
    return notes + _unlike_the_logbook([row for row in table.rows if row.values["published"]])


def _unlike_the_logbook(rows: Sequence[Row]) -> list[str]:
    """What forbids comparing these rows with their published values, a note each."""
    notes = []
    for images in sorted({row.settings["images"] or 0 for row in rows}):
        if abs(images / BUDGET - 1) > 0.01:
            notes.append(
                f"Trained on {images:,} of the logbook's {BUDGET:,} images: the difference from "
                "the published value is no finding."
            )
    data = sorted({str(row.settings["data"]) for row in rows} - {"fashion-mnist"})
    if data:
        notes.append(f"Data {', '.join(data)}, the logbook's was fashion-mnist: not comparable.")
    others: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for name, (ours, logbook) in other_training(row.settings).items():
            wanted = "none" if name == "holdout" else "all" if logbook is None else show(logbook)
            others.setdefault((title(name), wanted), set()).add(show(ours))
    return notes + [
        f"{name[0].upper()}{name[1:]} {', '.join(sorted(ours))}, the logbook's was {wanted}: not "
        "comparable."
        for (name, wanted), ours in others.items()
    ]
