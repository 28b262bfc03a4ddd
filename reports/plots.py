"""The figures of a comparison as PNG files, which need no browser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from reports.figures import COSTS, OTHERS, figures_of, short
from reports.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v",
    "pentagon": "p", "x": "X", "star": "*",
}  # fmt: skip


def slug(text: str) -> str:
    """A file name made of ``text``."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "runs"


def save_plots(tables: Sequence[Table], folder: Path) -> tuple[list[Path], list[str]]:
    """Write ``folder/<sweep>-<figure>.png``; returns these and the names of sweeps without curves.

    Raises ``InputError`` if they cannot be written.
    """
    paths, without = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables:
            figures = figures_of(table)
            curves = figures.get(f"curves {table.metric}")
            chosen = {"curves": curves} | {name: figures.get(name) for name in COSTS}
            if curves is None:
                without.append(table.name)
            for name, figure in chosen.items():
                if figure:
                    paths.append(folder / f"{slug(table.name)}-{name.replace('_', '-')}.png")
                    _drawn(figure, table.name).savefig(paths[-1], dpi=150, bbox_inches="tight")
    except OSError as error:
        raise InputError(f"{folder}: plots cannot be written ({error.strerror})") from None
    return paths, without


def _drawn(figure: dict[str, Any], name: str) -> Figure:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    layout = figure["layout"]
    with mpl.rc_context({"text.parse_math": False}):
        drawing = Figure(figsize=(8, 4.6))
        axes = drawing.add_subplot()
        axes.set_title(
            f"{name}: {unescape(layout['title']['text'])}", loc="left", fontweight="bold"
        )
        axes.grid(color="#d9dcdf", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        for trace in figure["data"]:
            _draw_trace(axes, trace)
        for axis, key in ((axes.xaxis, "xaxis"), (axes.yaxis, "yaxis")):
            axis.set_label_text(unescape(layout[key]["title"]["text"]))
            if layout[key].get("type") == "log":
                axes.set(**{f"{axis.axis_name}scale": "log"})
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_minor_formatter(NullFormatter())
            axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.01, 1),
                    frameon=False, fontsize=9)  # fmt: skip
    return drawing


def _draw_trace(axes: Any, trace: dict[str, Any]) -> None:
    x, y = trace["x"], trace["y"]
    if "fill" in trace:
        if trace["uid"].startswith("b"):  # those of other rows are for a page that marks rows
            axes.fill(x, y, color=trace["fillcolor"], alpha=trace["opacity"], linewidth=0)
        return
    label = unescape(trace["name"]) if trace.get("showlegend", True) else None
    error = trace.get("error_y", {})
    if error.get("visible"):
        spread = [error["arrayminus"], error["array"]]
        axes.errorbar(x, y, yerr=spread, fmt="none", ecolor=error["color"], capsize=2)
    line = trace.get("line", {"width": 0})
    marker = {"size": 0, "symbol": "circle", "color": OTHERS} | trace.get("marker", {})
    axes.plot(
        x, y, label=label, color=line.get("color", marker["color"]), linewidth=line["width"],
        marker=_MARKERS[marker["symbol"]], markersize=0.7 * marker["size"],
    )  # fmt: skip
    if not line["width"] and marker["color"] != OTHERS:
        name = unescape(trace["name"])
        axes.annotate(name, (x[0], y[0]), (5, 2), textcoords="offset points", fontsize=8)
