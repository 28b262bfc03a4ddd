"""One self-contained HTML page of a comparison: tables that sort, plots, pictures to filter.

Everything is inline; the page's own policy forbids the browser any request.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from reports.formats import cell, digits, is_text
from reports.pictures import demos_of
from reports.plots import figures_of, slug, svg
from reports.settings_of import command_of
from reports.statistics import Spread
from reports.table import Row, Table
from reports.words import title
from tracking.record import DemoPicture

_HERE = Path(__file__).parent
_LARGEST = 128  # pixels: larger demo pictures are shrunk for the page
_PLOTS = {
    "curves": "while training",
    "parameters": "against parameters",
    "minutes": "against time",
    "receptive-field": "against the receptive field",
}


def page(tables: Sequence[Table]) -> str:
    """The page as text; pictures come from the first run of each setting that has them."""
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    one = len(tables) == 1
    heading = tables[0].name if one else f"{len(tables)} sweeps compared"
    template = Template((_HERE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(heading),
        subtitle=escape(_subtitle(tables)),
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        contents="" if one else _contents(tables),
        sections="\n".join(_section(n, table, one) for n, table in enumerate(tables)),
        script=script,
        script_hash=f"sha256-{digest}",
    )


def _subtitle(tables: Sequence[Table]) -> str:
    runs = [run for table in tables for row in table.rows for run in row.runs]
    data = sorted({str(row.settings["data"]) for table in tables for row in table.rows})
    days = sorted({run.day for run in runs})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{len(runs)} finished {tables[0].task} runs on {', '.join(data)}, {when}"


def _contents(tables: Sequence[Table]) -> str:
    links = [f'<li><a href="#s{n}">{escape(t.name)}</a></li>' for n, t in enumerate(tables)]
    return f'<nav aria-label="Sweeps"><ul>{"".join(links)}</ul></nav>'


def _section(number: int, table: Table, one: bool) -> str:
    heading = "Comparison" if one else escape(table.name)
    best = min(table.rows, key=lambda row: row.values["place"])
    return "\n".join(
        [
            f'<section id="s{number}" aria-labelledby="h{number}">',
            f'<h2 id="h{number}">{heading}</h2>',
            _question(table.question),
            _facts(table, best),
            _numbers(table, best),
            f'<ul class="notes">{"".join(f"<li>{escape(n)}</li>" for n in table.notes)}</ul>',
            "<details><summary>Repeat the best run</summary>",
            f"<pre>{escape(command_of(best.runs[0]))}</pre></details>",
            _plots(table),
            _pictures(table),
            "</section>",
        ]
    )


def _question(header: str) -> str:
    """The sweep file's header: the first paragraph as the question, the rest on request."""
    first, _, rest = header.partition("\n\n")
    if not first:
        return ""
    question = escape(first.removeprefix("Question:").replace("\n", " ").strip())
    text = f'<p class="question">{question[:1].upper()}{question[1:]}</p>'
    if rest.strip():
        text += f"<details><summary>About this sweep</summary><pre>{escape(rest)}</pre></details>"
    return text


def _facts(table: Table, best: Row) -> str:
    tied = sum(row.values["place"] == best.values["place"] for row in table.rows) - 1
    facts = {
        "Best setting": best.label(table.varying) + (f", tied with {tied} more" if tied else ""),
        f"Its {table.metric}": cell(best, table.metric, table),
        "Settings": str(len(table.rows)),
        "Finished runs": str(sum(len(row.runs) for row in table.rows)),
    }
    if best.values["published"] is not None:
        facts["Published for it"] = cell(best, "published", table)
    items = [f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items()]
    return f'<dl class="facts">{"".join(items)}</dl>'


def _numbers(table: Table, best: Row) -> str:
    words = {column: is_text(column, table) for column in table.columns}
    heads = "".join(
        f'<th scope="col" aria-sort="{"ascending" if column == "place" else "none"}"'
        f'{_words(words[column])}><button type="button">{escape(title(column))}</button></th>'
        for column in table.columns
    )
    rows = []
    for row in table.rows:
        cells = "".join(
            f'<td data-value="{escape(_sort_value(row.values.get(column)))}"'
            f"{_words(words[column])}>{escape(cell(row, column, table))}</td>"
            for column in table.columns
        )
        rows.append(('<tr class="best">' if row is best else "<tr>") + f"{cells}</tr>")
    return (
        '<div class="scroll" tabindex="0" role="region" '
        f'aria-label="Table of {escape(table.name)}"><table class="numbers">'
        f'<caption class="unseen">{escape(table.name)}: one row a setting, best first. '
        "The headings sort.</caption>"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{chr(10).join(rows)}</tbody></table></div>"
    )


def _words(yes: bool) -> str:
    return ' class="words"' if yes else ""


def _sort_value(value: Any) -> str:
    """What the page sorts a cell by: a plain number where there is one."""
    if isinstance(value, Spread):
        return repr(value.mean)
    return "" if value is None else str(value)


def _plots(table: Table) -> str:
    figures = []
    for name, figure in figures_of(table).items():
        label = escape(f"{table.metric} {_PLOTS[name]}, {table.name}")
        drawing = svg(figure, f"{slug(table.name)}-{name}")
        drawing = drawing.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
        wide = ' class="wide"' if name == "curves" else ""  # its legend stands beside it
        figures.append(f"<figure{wide}>{drawing}</figure>")
    if not figures:
        return ""
    return (
        f'<h3>{escape(table.metric)} and its cost</h3><div class="plots">{"".join(figures)}</div>'
    )


def _pictures(table: Table) -> str:
    demos = demos_of(table)
    if not demos:
        return ""
    shown = list(demos[0].pictures.values())
    heads = "".join(
        f'<th scope="col"{_filtered(p)}>{escape(p.class_name)}<small>{escape(p.side)} erased'
        "</small></th>"
        for p in shown
    )
    rows = [_same_for_all("input", shown)]
    for demo in demos:
        found = [(p, demo.pictures.get(p.index)) for p in shown]
        cells = "".join(
            f"<td{_filtered(p)}>{_output(own, demo.label) if own else ''}</td>" for p, own in found
        )
        result = "".join(f"<small>{escape(line)}</small>" for line in demo.result.split("\n"))
        rows.append(f'<tr><th scope="row">{escape(demo.label)}{result}</th>{cells}</tr>')
    rows.append(_same_for_all("target", shown))
    return (
        '<h3>The same pictures through every setting</h3><div class="grid"><div class="filters">'
        f"{_choice('Class', [p.class_name for p in shown])}"
        f"{_choice('Erased side', [p.side for p in shown])}"
        '<label><input type="checkbox"> show the errors</label>'
        '<output class="quiet"></output></div>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Pictures">'
        f'<table class="pictures"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{chr(10).join(rows)}</tbody></table></div></div>"
    )


def _choice(name: str, values: Sequence[str]) -> str:
    options = "".join(f"<option>{escape(v)}</option>" for v in dict.fromkeys(values))
    return f'<label>{name}<select><option value="">all</option>{options}</select></label>'


def _filtered(picture: DemoPicture) -> str:
    return f' data-class="{escape(picture.class_name)}" data-side="{escape(picture.side)}"'


def _same_for_all(kind: str, shown: Sequence[DemoPicture]) -> str:
    cells = "".join(f"<td{_filtered(p)}>{_img(p, kind, kind)}</td>" for p in shown)
    return f'<tr><th scope="row">{kind}</th>{cells}</tr>'


def _output(picture: DemoPicture, name: str) -> str:
    error = _img(picture, "error", f"error of {name}")
    return _img(picture, "output", f"output of {name}, L1 {digits(picture.l1)}") + error


def _img(picture: DemoPicture, kind: str, what: str) -> str:
    if kind not in picture.png:
        return ""
    data = base64.b64encode(_small(picture.png[kind])).decode()
    text = escape(f"{what}: {picture.class_name}, {picture.side} half erased")
    return f'<img class="{kind}" loading="lazy" src="data:image/png;base64,{data}" alt="{text}">'


def _small(png: bytes) -> bytes:
    image = Image.open(io.BytesIO(png))
    if max(image.size) <= _LARGEST:
        return png
    image.thumbnail((_LARGEST, _LARGEST))
    image.save(file := io.BytesIO(), "PNG")
    return file.getvalue()
