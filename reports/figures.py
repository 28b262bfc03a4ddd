"""Curves, costs, parallel coordinates and importance in plotly's form.

Trace ``rN`` belongs to row N of the table, ``bN`` is its band over seeds; the page marks by it.
The rows must stand best first.
"""

import math
from collections.abc import Sequence
from html import escape
from statistics import fmean
from typing import Any

from reports.formats import cell
from reports.settings_of import natural
from reports.statistics import number
from reports.table import Row, Table, runs_of, show, title
from tasks.metrics import goal_of
from tracking.record import FolderRun

Figure = dict[str, Any]  # {"data": traces, "layout": layout}

COLOURS = (
    "#3b82c4", "#e07b1f", "#3a9d5d", "#d1495b", "#8e6bbf", "#1f9ea3", "#a8763e", "#c0569c",
)  # fmt: skip
OTHERS = "#9aa0a6"
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "x", "star")
COST_TITLES = {
    "parameters": "parameters",
    "minutes": "minutes (training and validation)",
    "multiply_adds": "multiply-adds of an image",
    "receptive_field": "receptive field (pixels)",
}
MOST_POINTS = 200  # of a curve
IMPORTANCE_ROWS = 8  # fewer settings tell nothing about importance


def text(value: str, longest: int = 60) -> str:
    """``value`` for plotly, which reads some HTML; shortened where it is long."""
    return escape(value if len(value) <= longest else value[: longest - 1] + "…", quote=False)


def style(n: int) -> tuple[str, str]:
    """Colour and marker of row ``n``: its own for the first eight, else those of the others."""
    return (COLOURS[n], MARKERS[n]) if n < len(COLOURS) else (OTHERS, "circle")


def figures_of(table: Table) -> dict[str, Figure]:
    """The table's figures by name; those without anything to show are left out."""
    figures = {f"curves {key}": _curves(table, key) for key in _curve_keys(table)}
    figures |= {column: _cost(table, column) for column in COST_TITLES}
    figures |= {"parallel": _parallel(table), "importance": _importance(table)}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _curve_keys(table: Table) -> list[str]:
    """The metric; and, of run folders, the training loss and what was recorded of the machine."""
    known = {key for run in runs_of([table]) if isinstance(run, FolderRun) for key in run.last}
    known = {key for key in known if key.startswith(("train/", "perf/")) and key != "train/lr"}
    return [table.metric, *sorted(known - {table.metric}, reverse=True)]


def _figure(traces: Sequence[Any], x: Any, y: Any, heading: str, **layout: Any) -> Figure:
    layout |= {"xaxis": x, "yaxis": y, "title": {"text": heading}, "hovermode": "closest"}
    return {"data": list(traces), "layout": layout}


def _axis(name: str, values: Sequence[float]) -> dict[str, Any]:
    """An axis with a title, logarithmic where the values span more than a factor of 3."""
    axis: dict[str, Any] = {"title": {"text": text(name)}, "automargin": True}
    if values and min(values) > 0 and max(values) / min(values) > 3:
        powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))))
        digits = (1, 2, 5) if max(values) / min(values) > 10 else (1, 1.5, 2, 3, 4, 5, 6, 8)
        ticks = [digit * 10.0**power for power in powers for digit in digits]
        axis |= {"type": "log", "tickvals": ticks, "ticktext": [short(tick) for tick in ticks]}
    return axis


def _points(row: Row, key: str) -> list[list[float]]:
    """Images seen, mean, least and greatest value over the seeds that were measured there."""
    found: dict[float, list[float]] = {}
    for run in row.runs:
        for seen, value in run.curve(key):
            if math.isfinite(value):
                found.setdefault(seen, []).append(value)
    stride = -(-len(found) // MOST_POINTS) or 1
    kept = sorted(sorted(found)[::-stride])  # the last point always
    return [[at, *(float(f"{f(found[at]):.5g}") for f in (fmean, min, max))] for at in kept]


def _curves(table: Table, key: str) -> Figure | None:
    bands, lines, values = [], [], []
    for n, row in reversed(list(enumerate(table.rows))):
        points = _points(row, key)
        if not points:
            continue
        colour, marker = style(n)
        in_legend = n < len(COLOURS)
        x, mean, low, high = map(list, zip(*points, strict=True))
        values += mean
        if len(row.runs) > 1:
            bands.append(
                {"x": x + x[::-1], "y": high + low[::-1], "fill": "toself", "fillcolor": colour,
                 "opacity": 0.2, "line": {"width": 0}, "mode": "lines", "hoverinfo": "skip",
                 "legendgroup": f"r{n}", "showlegend": False,
                 "uid": f"b{n}" if in_legend else f"x{n}"}
            )  # fmt: skip
        lines.append(
            {"x": x, "y": mean, "name": text(row.label(table.varying), 40), "uid": f"r{n}",
             "mode": "lines+markers" if len(x) < (30 if in_legend else 2) else "lines",
             "legendgroup": f"r{n}", "showlegend": in_legend, "legendrank": n,
             "customdata": [[a, b] for a, b in zip(low, high, strict=True)],
             "line": {"color": colour, "width": 2 if in_legend else 1},
             "marker": {"size": 6 if in_legend else 3, "symbol": marker, "color": colour},
             "hovertemplate": "%{fullData.name}<br>%{x:,} images<br>%{y}"
             + ("<br>%{customdata[0]} to %{customdata[1]}" if len(row.runs) > 1 else "")
             + "<extra></extra>"}
        )  # fmt: skip
    if all(len(line["x"]) < 2 for line in lines):
        return None
    legend = {"title": {"text": "best first"}}
    x, y = _axis("training images seen", []), _axis(key, values)
    return _figure(bands + lines, x, y, f"{key} while training", legend=legend)


def _cost(table: Table, column: str) -> Figure | None:
    rows = {n: r for n, r in enumerate(table.rows) if (_number(r.values.get(column)) or 0) > 0}
    costs = [row.values[column] for row in rows.values()]
    if not rows or max(costs) <= 1.05 * min(costs):
        return None
    front: list[Row] = []  # the settings that no cheaper setting beats
    for row in rows.values():
        if all(row.values[column] < better.values[column] for better in front):
            front.insert(0, row)
    traces: list[Any] = [
        {"x": [row.values[column] for row in front], "uid": "front", "hoverinfo": "skip",
         "y": [row.values[table.metric].mean for row in front], "mode": "lines",
         "name": "Pareto front", "line": {"color": COLOURS[0], "width": 1, "dash": "dot"}}
    ]  # fmt: skip
    means = [row.values[table.metric].mean for row in rows.values()]
    for (n, row), mean in zip(rows.items(), means, strict=True):
        values = list(row.by_seed(table.metric).values())
        colour, marker = style(n)
        traces.append(
            {"x": [row.values[column]], "y": [mean], "uid": f"r{n}", "mode": "markers",
             "name": text(row.label(table.varying)), "showlegend": False,
             "marker": {"size": 10, "color": colour, "symbol": marker},
             "error_y": {"array": [max(values) - mean], "arrayminus": [mean - min(values)],
                         "symmetric": False, "color": OTHERS, "thickness": 1,
                         "visible": len(values) > 1},
             "hovertemplate": "%{fullData.name}<br>%{x:,} " + title(column)
             + "<br>%{y}<extra></extra>"}
        )  # fmt: skip
    heading = f"{table.metric} against {COST_TITLES[column].partition(' (')[0]}"
    return _figure(traces, _axis(COST_TITLES[column], costs), _axis(table.metric, means), heading)


def _number(value: Any) -> float | None:
    value = number(value)
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if usable and math.isfinite(value) else None


def _places(values: Sequence[Any]) -> tuple[list[float], dict[float, str]]:
    """Where the values stand on an axis from 0 to 1, and the axis's marks."""
    found = [n for n in map(_number, values) if n is not None]
    if len(found) < len(values) or len(set(found)) < 2:
        order = sorted({show(value) for value in values}, key=natural)
        marks = {(n + 0.5) / len(order): each for n, each in enumerate(order)}
        places = {each: place for place, each in marks.items()}
        return [places[show(value)] for value in values], marks if len(marks) < 20 else {}
    low, high = min(found), max(found)
    change = math.log if low > 0 and high / low > 3 else float
    span = change(high) - change(low)
    return [(change(n) - change(low)) / span for n in found], {0: short(low), 1: short(high)}


def short(value: float) -> str:
    """Four digits, from 1,000 on with k, M or G."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def _parallel(table: Table) -> Figure | None:
    """A line a setting through one axis each for the settings, the costs and the metric.

    Lines instead of plotly's ``parcoords``: these show their setting, can be marked from outside,
    print sharply, and need no ``eval``, which the page forbids.
    """
    names = [name for name in table.varying if name not in ("checksum", "run")]
    names += [c for c in COST_TITLES if all(_number(row.values.get(c)) for row in table.rows)]
    names += [table.metric]
    columns = {name: [row.values.get(name) for row in table.rows] for name in names}
    columns = {name: v for name, v in columns.items() if len({show(each) for each in v}) > 1}
    if len(table.rows) < 3 or len(columns) < 3:
        return None
    scales = {name: _places(values) for name, values in columns.items()}
    traces = [
        {"x": list(range(len(scales))), "uid": f"r{n}", "mode": "lines+markers",
         "y": [places[n] for places, _ in scales.values()],
         "name": text(row.label(table.varying)), "showlegend": False,
         "text": [text(f"{title(name)} {cell(row, name, table)}") for name in scales],
         "line": {"color": style(n)[0], "width": 1.5},
         "marker": {"size": 5, "color": style(n)[0]},
         "hovertemplate": "%{fullData.name}<br>%{text}<extra></extra>"}
        for n, row in reversed(list(enumerate(table.rows)))
    ]  # fmt: skip
    marks = [
        {"x": x, "y": y, "text": text(mark, 16), "showarrow": False, "xanchor": "right",
         "xshift": -4, "bgcolor": "white"}
        for x, (_, found) in enumerate(scales.values())
        for y, mark in found.items()
    ]  # fmt: skip
    ticks = {"tickvals": list(range(len(scales))), "ticktext": [text(title(n)) for n in scales]}
    x = ticks | {"side": "top", "range": [-0.6, len(scales) - 0.7], "zeroline": False}
    y = {"visible": False, "range": [-0.05, 1.05]}
    return _figure(traces, x, y, "Settings, costs and result", annotations=marks, dragmode="select")


def _importance(table: Table) -> Figure | None:
    """How much of the metric's variation the settings explain, by optuna's PED-ANOVA."""
    values = {
        name: [show(row.values.get(name)) for row in table.rows]
        for name in table.varying
        if name not in ("checksum", "run")
    }
    values = {name: found for name, found in values.items() if len(set(found)) > 1}
    if len(table.rows) < IMPORTANCE_ROWS or len(values) < 2:
        return None
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=goal_of(table.metric))
    kinds: dict[str, Any] = {
        name: optuna.distributions.CategoricalDistribution(sorted(set(found), key=natural))
        for name, found in values.items()
    }
    for n, row in enumerate(table.rows):
        chosen = {name: found[n] for name, found in values.items()}
        result = row.values[table.metric].mean
        study.add_trial(optuna.create_trial(params=chosen, distributions=kinds, value=result))
    found = get_param_importances(
        study, evaluator=PedAnovaImportanceEvaluator(target_quantile=0.25)
    )
    bars = {
        "type": "bar", "orientation": "h", "x": list(found.values())[::-1],
        "y": [text(title(name), 30) for name in found][::-1], "marker": {"color": COLOURS[0]},
        "hovertemplate": "%{y} %{x:.0%}<extra></extra>",
    }  # fmt: skip
    x = {
        "title": {"text": "share of importance (PED-ANOVA)"}, "tickformat": ".0%",
        "rangemode": "tozero",
    }  # fmt: skip
    y = {"automargin": True, "type": "category"}
    return _figure([bars], x, y, "Importance of the settings")
