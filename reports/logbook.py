"""The ResConv logbook's eight tables run again: results, rank correlations, differences.

Each finished run is put beside the published rows of its settings: it is added to the files
``<table>-<images>.csv`` in --out. Of all rows in them ``tables.md``, both rankings side by side, is
written anew, and a summary printed.

    python -m reports.logbook runs/logbook-12800 --out logbook
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import fmean

import click
from scipy.stats import norm, spearmanr

from common.errors import InputError
from common.files import csv_text, write_output
from common.log import log
from experiment.settings import stored_values
from reports.published import KEYS, net_of, other_training, resconv_tables
from tracking.record import FolderRun, csv_rows, is_run_folder, read_run_folders

CLOSE = 0.05  # of the published value
# What tells one run of a table from another, and what the rankings need.
COLUMNS = (*KEYS, "seed", "val_images", "published val/l1", "val/l1", "training_seconds")


def correlation(ours: list[float], theirs: list[float]) -> str:
    """Spearman's rank correlation with its 95 % interval by Fisher's z (Bonett and Wright 2000)."""
    n = len(ours)
    if n < 4:
        return "too few rows"
    rho, _ = map(float, spearmanr(ours, theirs))
    if math.isclose(abs(rho), 1):  # then Fisher's z is infinite
        return f"{rho:.2f}"
    half = norm.ppf(0.975) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(rho) + sign * half) for sign in (-1, 1))
    return f"{rho:.2f} ({low:.2f} to {high:.2f})"


def trained_as_published(run: FolderRun) -> bool:
    """Whether it is a finished run that the logbook could have made."""
    data = run.dataset.get("name")
    if (run.command, data, run.state) != ("resconv", "fashion-mnist", "finished"):
        return False
    other = other_training(stored_values(run.config)).keys() - {"val_images"}
    if other:
        log.warning(f"{run.folder}: left out, trained otherwise ({', '.join(other)})")
    return not other


def row_of(run: FolderRun, published: float) -> dict[str, str]:
    """Settings, every metric, cost and versions as text."""
    environment = run.config["environment"]
    row = {name: run.config[name] for name in (*KEYS, "seed")}
    row |= {"val_images": run.dataset["val"], "published val/l1": published}
    row |= {k: round(v, 6) for k, v in run.last.items() if k.startswith("val/")}
    row |= {k: run.summary[k] for k in ("parameters", "images_seen", "training_seconds")}
    row |= {k: environment[k] for k in ("device_name", "precision", "torch", "commit")}
    return {name: str(value) for name, value in row.items()}


def read(file: Path) -> list[dict[str, str]]:
    """The rows of ``file``. Raises ``InputError`` where it is not of this command."""
    rows = csv_rows(file)
    if any(not row.get(name) for row in rows for name in COLUMNS):
        raise InputError(f"{file}: lacks {', '.join(COLUMNS)}; give another --out")
    return rows


def merge(file: Path, rows: list[dict[str, str]]) -> None:
    """Add those of ``rows`` that ``file`` does not hold yet; best first.

    Rows validated on another number of images than the first one are left out.
    """
    kept = {tuple(row[name] for name in COLUMNS): row for row in read(file)}
    number = len(kept)
    for row in rows:
        if next(iter(kept.values()), row)["val_images"] == row["val_images"]:
            kept.setdefault(tuple(row[name] for name in COLUMNS), row)
        else:
            log.warning(f"{file}: a run validated on {row['val_images']} images is left out")
    if len(kept) > number:
        rows = sorted(kept.values(), key=lambda row: float(row["val/l1"]))
        write_output(file, csv_text(rows))


def means(rows: list[dict[str, str]]) -> dict[float, float]:
    """The loss here by the published loss, which tells a table's rows apart.

    The mean over seeds; runs of one seed count as one, by their mean.
    """
    losses: dict[float, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        losses[float(row["published val/l1"])][row["seed"]].append(float(row["val/l1"]))
    return {
        published: fmean(fmean(repeats) for repeats in seeds.values())
        for published, seeds in losses.items()
    }


def ranking(rows: list[dict[str, str]]) -> list[str]:
    """Markdown: what differs between the rows, both losses and both places, ours best first."""
    columns = [k for k in KEYS if len({row[k] for row in rows}) > 1]
    row_of = {float(row["published val/l1"]): row for row in rows}
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


def summary_and_page(folder: Path) -> tuple[list[str], list[str]]:
    """Of the CSV files in ``folder``, in Markdown: a line a file, and every ranking."""
    lines = ["| table | images | rows | rank correlation | within 5 % |", "|" + " --- |" * 5]
    page = ["# The logbook's tables, published and here", ""]
    budgets = {file.stem.rpartition("-")[2] for file in folder.glob("*-*.csv")}
    for budget in sorted(map(int, filter(str.isdigit, budgets))):
        for table, published in resconv_tables().items():
            if rows := read(folder / f"{table}-{budget}.csv"):
                losses = means(rows)
                close = sum(abs(here / loss - 1) <= CLOSE for loss, here in losses.items())
                rho = correlation(list(losses.values()), list(losses))
                number = f"{len(losses)} of {len(published)}"
                lines.append(_line([table, f"{budget:,}", number, rho, close]))
                page += [f"## {table}, {budget:,} images", "", *ranking(rows), ""]
    return lines, page


@click.command()
@click.argument("folders", nargs=-1, required=True,
                type=click.Path(path_type=Path, exists=True, file_okay=False))  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default="results/logbook",
              show_default=True, help="Folder of the CSV files.")  # fmt: skip
def main(folders: tuple[Path, ...], out: Path) -> None:
    """Put the finished ResConv runs in FOLDERS beside the logbook's tables."""
    paths = [
        path for folder in folders for path in (folder, *sorted(folder.iterdir()))
        if is_run_folder(path)
    ]  # fmt: skip
    runs = list(filter(trained_as_published, read_run_folders(paths)))
    if not runs:
        raise InputError(
            f"{folders[0]}: no finished run of resconv trained as the logbook's on Fashion-MNIST"
        )
    files: dict[str, list[dict[str, str]]] = defaultdict(list)
    for (table, losses), run in product(resconv_tables().items(), runs):
        net = net_of(stored_values(run.config))
        if net in losses:
            name = f"{table}-{run.summary['images_seen']}.csv"
            files[name].append(row_of(run, losses[net]))
    for name, rows in files.items():
        merge(out / name, rows)
    lines, page = summary_and_page(out)
    write_output(out / "tables.md", "\n".join(page))
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
