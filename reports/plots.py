"""Validation curves, and the loss against what it costs: PNG files, or SVG for a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from reports.formats import digits
from reports.table import Row, Table
from tracking.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    "#3b82c4", "#e07b1f", "#3a9d5d", "#d1495b", "#8e6bbf", "#1f9ea3", "#a8763e", "#c0569c",
)  # fmt: skip
_MARKERS = "osD^vPX*"
_PLACES = (((5, 2), "left", "bottom"), ((0, -6), "center", "top"),
           ((0, 6), "center", "bottom"), ((-5, -2), "right", "top"))  # fmt: skip
_OTHERS = "#9aa0a6"
_INK, _FAINT = "#1a1c1e", "#d9dcdf"
COSTS = {
    "parameters": "parameters",
    "minutes": "minutes (training and validation)",
    "receptive_field": "receptive field (pixels)",
}


def slug(text: str) -> str:
    """A file name made of ``text``."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "runs"


def figures_of(table: Table) -> dict[str, Figure]:
    """The table's figures by name; those without anything to show are left out."""
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False}):
        figures = {"curves": _curves(table)}
        for column in COSTS:
            values = [row.values[column] for row in table.rows if row.values.get(column)]
            if values and max(values) > 1.05 * min(values):
                figures[column.replace("_", "-")] = _cost(table, column)
    return {name: figure for name, figure in figures.items() if figure is not None}


def save_plots(tables: Sequence[Table], folder: Path) -> tuple[list[Path], list[str]]:
    """Write ``folder/<sweep>-<figure>.png``; returns these and the names of sweeps without curves.

    Raises ``InputError`` if they cannot be written.
    """
    paths, without = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables:
            figures = figures_of(table)
            if "curves" not in figures:
                without.append(table.name)
            for name, figure in figures.items():
                paths.append(folder / f"{slug(table.name)}-{name}.png")
                figure.savefig(paths[-1], dpi=150, bbox_inches="tight")
    except OSError as error:
        raise InputError(f"{folder}: plots cannot be written ({error.strerror})") from None
    return paths, without


def svg(figure: Figure, salt: str) -> str:
    """The figure as an ``<svg>`` element whose text and lines take the page's colours."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(file := io.StringIO(), format="svg", transparent=True, bbox_inches="tight")
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace(_INK, "currentColor").replace(_FAINT, "var(--line)")


def _axes(table: Table, x_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6))
    axes = figure.add_subplot()
    axes.set_title(table.name, loc="left", fontweight="bold", color=_INK)
    axes.set_xlabel(x_label, color=_INK)
    axes.set_ylabel(table.metric, color=_INK)
    axes.grid(color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(which="both", color=_FAINT, labelcolor=_INK)
    return figure, axes


def _scale(axis: Any, number: str) -> None:
    """Plain numbers, on a logarithmic axis where the values span more than a factor of 3."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_data_interval()
    if low > 0 and high / low > 3:
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        subs = (1, 2, 5) if high / low > 10 else (1, 1.5, 2, 3, 4, 5, 6, 8)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:{number}}"))


def _mean_curve(runs: Sequence[RunRecord], metric: str) -> tuple[list[float], list[float]]:
    """Images seen and the mean over the runs that were measured there."""
    points: dict[float, list[float]] = {}
    for run in runs:
        for seen, value in run.curve(metric):
            points.setdefault(seen, []).append(value)
    places = sorted(points)
    return places, [fmean(points[place]) for place in places]


def _curves(table: Table) -> Figure | None:
    figure, axes = _axes(table, "training images seen")
    ranked = sorted(table.rows, key=lambda row: row.values["place"])
    others = len(ranked) - len(COLOURS)
    drawn = False
    for place, row in reversed(list(enumerate(ranked))):
        seen, values = _mean_curve(row.runs, table.metric)
        drawn |= len(seen) > 1
        if place < len(COLOURS):
            final = digits(row.values[table.metric].mean)
            style: dict[str, Any] = {"color": COLOURS[place], "marker": _MARKERS[place]}
            style |= {"label": f"{row.label(table.varying)}  ({final})", "zorder": 3}
        else:
            style = {"color": _OTHERS, "linewidth": 0.9, "alpha": 0.6}
            style["label"] = f"{others} others" if place == len(COLOURS) else None
        axes.plot(seen, values, markersize=4, **style)
    if not drawn:
        return None
    _scale(axes.yaxis, ".4g")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False,
        labelcolor=_INK, fontsize=9, title="best first", title_fontproperties={"size": 9},
    ).get_title().set_color(_INK)  # fmt: skip
    return figure


def _cost(table: Table, column: str) -> Figure:
    figure, axes = _axes(table, COSTS[column])
    rows = [row for row in table.rows if row.values.get(column)]
    x = [row.values[column] for row in rows]
    y = [row.values[table.metric].mean for row in rows]
    spread = [row.values[table.metric].std or 0 for row in rows]
    front = _front(rows, column, table.metric)
    colours = [COLOURS[0] if row in front else _OTHERS for row in rows]
    axes.errorbar(x, y, yerr=spread, fmt="none", ecolor=_OTHERS, elinewidth=1, capsize=2)
    axes.scatter(x, y, c=colours, s=36, zorder=3)
    line = sorted(front, key=lambda row: row.values[column])
    axes.plot(
        [row.values[column] for row in line],
        [row.values[table.metric].mean for row in line],
        color=COLOURS[0], linewidth=1, label="best for the cost",
    )  # fmt: skip
    axes.legend(frameon=False, labelcolor=_INK, fontsize=9)
    _scale(axes.xaxis, ".3g" if column == "minutes" else ",.0f")
    _scale(axes.yaxis, ".4g")
    _label(figure, axes, table, [*front, *(row for row in rows if row not in front)], column)
    return figure


def _front(rows: Sequence[Row], column: str, metric: str) -> list[Row]:
    """The settings that no cheaper setting beats, in rank order."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: row.values["place"]):
        if all(row.values[column] < better.values[column] for better in front):
            front.append(row)
    return front


def _label(figure: Figure, axes: Axes, table: Table, rows: Sequence[Row], column: str) -> None:
    """Name the points, most important first, where there is space beside the point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    legend = axes.get_legend()
    taken = [legend.get_window_extent(renderer)] if legend else []
    for row in rows:
        at = (row.values[column], row.values[table.metric].mean)
        for offset, ha, va in _PLACES:
            text = axes.annotate(
                row.label(table.varying), at, xytext=offset, ha=ha, va=va,
                textcoords="offset points", fontsize=8, color=_INK,
            )  # fmt: skip
            box = text.get_window_extent(renderer)
            if not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()
