"""The ResConv logbook's eight tables run again: results, rank correlations, differences.

RUNS are folders of finished runs; each run is put beside the published rows of its settings.
Writes ``<table>-<images>.csv`` and ``tables.md``, both rankings side by side, into --out and prints
a summary.

    python -m reports.logbook runs/logbook-12800
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
from scipy.stats import norm, spearmanr

from common.errors import InputError
from common.files import csv_text, write_output
from experiment.settings import stored_values
from reports.published import KEYS, net_of, resconv_tables
from tracking.record import FolderRun, is_run_folder, read_run_folders

CLOSE = 0.05  # of the published value
Runs = dict[tuple[Any, ...], list[FolderRun]]  # by net


def correlation(ours: list[float], theirs: list[float]) -> str:
    """Spearman's rank correlation with its 95 % interval by Fisher's z (Bonett and Wright 2000)."""
    n = len(ours)
    if n < 4:
        return "too few rows"
    rho, _ = map(float, spearmanr(ours, theirs))
    if abs(rho) == 1:
        return f"{rho:.2f}"
    half = norm.ppf(0.975) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(rho) + sign * half) for sign in (-1, 1))
    return f"{rho:.2f} ({low:.2f} to {high:.2f})"


def table_rows(runs: Runs, table: str) -> list[dict[str, Any]]:
    """One row a run of ``table``: settings, every metric, cost, versions; best first."""
    rows = []
    for key, loss in resconv_tables()[table].items():
        for run in runs.get(key, []):
            environment = run.config["environment"]
            rows.append(
                {name: run.config[name] for name in (*KEYS, "seed")}
                | {"published val/l1": loss}
                | {k: round(v, 6) for k, v in run.last.items() if k.startswith("val/")}
                | {k: run.summary[k] for k in ("parameters", "images_seen", "training_seconds")}
                | {k: environment[k] for k in ("device_name", "precision", "torch", "commit")}
            )
    return sorted(rows, key=lambda row: row["val/l1"])


def means(rows: list[dict[str, Any]]) -> dict[float, float]:
    """The loss here, mean over seeds, by the published loss, which tells a table's rows apart."""
    losses: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        losses[row["published val/l1"]].append(row["val/l1"])
    return {published: sum(seeds) / len(seeds) for published, seeds in losses.items()}


def ranking(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: what differs between the rows, both losses and both places, ours best first."""
    columns = [k for k in KEYS if len({row[k] for row in rows}) > 1]
    row_of = {row["published val/l1"]: row for row in rows}
    ours = means(rows)
    place = {loss: number for number, loss in enumerate(sorted(ours), 1)}
    heads = [*columns, "published", "place", "here", "place", "difference"]
    lines = [_line(heads), "|" + " --- |" * len(heads)]
    for number, loss in enumerate(sorted(ours, key=ours.__getitem__), 1):
        cells = [*(row_of[loss][k] for k in columns), f"{loss:.4f}", place[loss]]
        lines.append(_line([*cells, f"{ours[loss]:.4f}", number, f"{ours[loss] / loss - 1:+.0%}"]))
    return lines


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="results/logbook",
              show_default=True, help="Folder for the CSV files.")  # fmt: skip
def main(folders: tuple[Path, ...], out: Path) -> None:
    """Put the finished ResConv runs in FOLDERS beside the logbook's tables."""
    paths = [p for folder in folders for p in sorted(folder.iterdir()) if is_run_folder(p)]
    budgets: dict[int, Runs] = defaultdict(lambda: defaultdict(list))
    for run in read_run_folders(paths):
        ours = run.command == "resconv" and run.dataset.get("name") == "fashion-mnist"
        if ours and run.state == "finished":
            net = net_of(stored_values(run.config))
            budgets[run.summary["images_seen"]][net].append(run)
    if not budgets:
        raise InputError(
            f"{folders[0]}: no finished run of resconv on Fashion-MNIST, for example runs/logbook"
        )
    page = ["# The logbook's tables, published and here", ""]
    lines = ["| table | images | rows | rank correlation | within 5 % |", "|" + " --- |" * 5]
    for (images, runs), table in product(sorted(budgets.items()), resconv_tables()):
        if rows := table_rows(runs, table):
            write_output(out / f"{table}-{images}.csv", csv_text(rows))
            page += [f"## {table}, {images:,} images", "", *ranking(rows), ""]
            losses = means(rows)
            close = sum(abs(here / loss - 1) <= CLOSE for loss, here in losses.items())
            found = correlation(list(losses.values()), list(losses))
            number = f"{len(losses)} of {len(resconv_tables()[table])}"
            lines.append(_line([table, f"{images:,}", number, found, close]))
    write_output(out / "tables.md", "\n".join(page))
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
