"""The figures of a comparison as PNG files, which need no browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.files import write_output
from reports.figures import COST_TITLES, OTHERS, figures_of, short
from reports.pictures import slug
from reports.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v",
    "pentagon": "p", "x": "X", "star": "*",
}  # fmt: skip


def save_plots(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write ``folder/<sweep>-<figure>.png``: the metric's curves, and the metric against each cost.

    Raises ``InputError`` if they cannot be written.
    """
    paths = []
    for table in tables:
        best_first = sorted(table.rows, key=lambda row: row.values["place"])
        figures = figures_of(replace(table, rows=best_first))
        for key in (f"curves {table.metric}", *COST_TITLES):
            if figure := figures.get(key):
                name = key.partition(" ")[0].replace("_", "-")
                paths.append(folder / f"{slug(table.name)}-{name}.png")
                drawing = _drawn(figure, table.name)
                write_output(paths[-1], partial(drawing.savefig, dpi=150, bbox_inches="tight"))
    return paths


def _drawn(figure: dict[str, Any], name: str) -> Figure:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    layout = figure["layout"]
    with mpl.rc_context({"text.parse_math": False}):
        drawing = Figure(figsize=(8, 4.6))
        axes = drawing.add_subplot()
        axes.set_title(f"{name}: {unescape(layout['title']['text'])}", loc="left")
        axes.grid(color="#d9dcdf", linewidth=0.7)
        for trace in figure["data"]:
            _draw(axes, trace)
        for axis, key in ((axes.xaxis, "xaxis"), (axes.yaxis, "yaxis")):
            axis.set_label_text(unescape(layout[key]["title"]["text"]))
            if layout[key].get("type") == "log":
                axes.set(**{f"{axis.axis_name}scale": "log"})
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_minor_formatter(NullFormatter())
            axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        best_last = "legend" in layout  # of curves, which are drawn above all others
        axes.legend(reverse=best_last, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9)
    return drawing


def _draw(axes: Any, trace: dict[str, Any]) -> None:
    x, y = trace["x"], trace["y"]
    if "fill" in trace:
        axes.fill(x, y, color=trace["fillcolor"], alpha=trace["opacity"], linewidth=0)
        return
    error = trace.get("error_y", {})
    if error.get("visible"):
        spread = [error["arrayminus"], error["array"]]
        axes.errorbar(x, y, yerr=spread, fmt="none", ecolor=error["color"], capsize=2)
    marker = {"size": 0, "symbol": "circle"} | trace.get("marker", {})
    line = {"width": 0, "color": marker.get("color")} | trace.get("line", {})
    axes.plot(
        x, y, label=unescape(trace["name"]) if line["color"] != OTHERS else None,
        color=line["color"], linewidth=line["width"], marker=_MARKERS[marker["symbol"]],
        markersize=0.7 * marker["size"],
    )  # fmt: skip
