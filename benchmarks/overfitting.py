"""Why channel selection does not overfit: training loss and validation accuracy by parameters.

    python train.py sweep sweep_configs/classify-overfitting.yaml
    python -m benchmarks.overfitting runs --out results/classify

Takes finished classify runs that differ in ``conv`` and ``rank`` only and writes
``overfitting.csv`` and ``overfitting.png``. Training loss is the mean over the last epoch.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import click

from common.errors import InputError
from common.files import write_output

COLUMNS = (
    "conv", "rank", "parameters", "seed", "epochs", "train_loss_last_epoch", "val_loss_last",
    "val_accuracy_last", "val_accuracy_best", "overfitting_begins_at_epoch",
    "val_loss_there", "train_loss_there",
)  # fmt: skip


def last_epoch_loss(curve: Sequence[tuple[float, float]], images: int) -> float:
    """Mean of the training losses in the last epoch of ``images``; a point is (images, loss)."""
    losses = [loss for seen, loss in curve if seen > curve[-1][0] - images]
    return sum(losses) / len(losses)


def table(sources: Sequence[str], runs_dir: Path) -> list[dict[str, object]]:
    """A row a run, fewest parameters first. Raises ``InputError`` where nothing is to be shown."""
    from reports.collect import collect

    rows = []
    for run in collect(sources, runs_dir):
        if run.task != "classify" or run.state != "finished":
            continue
        last, best = run.summary["last"], run.summary["best"]
        full = run.config["conv"] == "full"
        values = (
            run.config["conv"], None if full else run.config["rank"], run.summary["parameters"],
            run.config["seed"], run.config["epochs"],
            last_epoch_loss(run.curve("train/loss"), run.config["dataset"]["train"]),
            last["val/loss"], last["val/accuracy"], best["val/accuracy"],
            last["overfit/epoch"], last["overfit/val_loss"], last["overfit/train_loss"],
        )  # fmt: skip
        rounded = (round(v, 4) if isinstance(v, float) else v for v in values)
        rows.append(dict(zip(COLUMNS, rounded, strict=True)))
    if not rows:
        raise InputError("no finished classify runs there; train some first, see classify --help")
    return sorted(rows, key=lambda row: (row["parameters"], row["conv"], row["seed"]))


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Two panels over the parameters: losses, and validation accuracy."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    x = [row["parameters"] for row in rows]
    for axes, column, label in (
        (losses, "train_loss_last_epoch", "training, last epoch"),
        (losses, "val_loss_last", "validation, last epoch"),
        (losses, "val_loss_there", "validation, lowest"),
        (accuracies, "val_accuracy_best", "best epoch"),
        (accuracies, "val_accuracy_last", "last epoch"),
    ):
        axes.plot(x, [row[column] for row in rows], "o", label=label)
    for axes, name in ((losses, "cross-entropy"), (accuracies, "validation accuracy")):
        axes.set(xscale="log", xlabel="parameters", ylabel=name)
        axes.minorticks_off()
        axes.set_xticks(x, [_tick(row) for row in rows], fontsize=7)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    losses.set_yscale("log")
    figure.savefig(path, dpi=150)


def _tick(row: dict[str, object]) -> str:
    name = "full" if row["conv"] == "full" else f"rank {row['rank']}"
    return f"{name}\n{row['parameters'] / 1000:.0f}k"


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/classify")
@click.option("--runs-dir", type=click.Path(path_type=Path), default="runs")
def main(sources: tuple[str, ...], out: Path, runs_dir: Path) -> None:
    """Write overfitting.csv and overfitting.png from the runs in SOURCES."""
    try:
        rows = table(sources, runs_dir)
    except InputError as error:
        raise click.UsageError(str(error)) from None
    out.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_output(out / "overfitting.csv", text.getvalue())
    plot(rows, out / "overfitting.png")
    click.echo(text.getvalue())


if __name__ == "__main__":
    main()
