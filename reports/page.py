"""One self-contained HTML page of a comparison: tables, interactive figures, demo pictures.

Everything is inline; the page's own policy forbids the browser any request and any other script.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from common.files import json_text
from reports.figures import figures_of, style
from reports.formats import cell, is_text
from reports.notes import LISTED, reasons_of, state_of
from reports.pictures import Sprites, pictures_of
from reports.settings_of import command_of
from reports.statistics import number
from reports.table import Table, runs_of, show, title

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("section.js", "pictures.js", "page.js")  # in the order that they need each other
TITLES = 3  # names of tables in the page's title
CHARACTERS = 1.5e6, 5e4, 12e6  # of pictures: for any page, more for each run, at most


def page(tables: Sequence[Table]) -> str:
    """The page as text. Of many runs with large pictures, the best ones have theirs."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    for function in (cell, number, runs_of, show, state_of, style, title):
        environment.globals[function.__name__] = function
    runs = runs_of(tables)
    first, each, most = CHARACTERS
    sprites = Sprites(min(most, first + each * len(runs)))
    data = {"sections": [_data(table, sprites) for table in tables], "sheets": sprites.sheets}
    plotly = get_plotlyjs()
    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    sources = ", ".join(sorted({str(row.settings["data"]) for t in tables for row in t.rows}))
    days = sorted({run.day for run in runs})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    names = [table.name for table in tables]
    more = len(names) - TITLES
    return environment.get_template("page.html").render(
        heading=", ".join(names[:TITLES]) + (f" and {more} more" if more > 0 else ""),
        subtitle=f"{len(runs)} finished runs on {sources}, {when}",
        sections=list(map(_section, tables, data["sections"])),
        css=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        plotly=Markup(plotly),
        script=Markup(script),
        hashes=[_hash(each) for each in (plotly, script)],
        json=Markup(json_text(data, separators=(",", ":")).replace("<", "\\u003c")),
    )


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _data(table: Table, sprites: Sprites) -> dict[str, Any]:
    """What the script needs of a table."""
    rows = [
        {
            "label": row.label(table.varying) or table.name,
            "settings": {title(name): show(value) for name, value in row.settings.items()},
            "command": command_of(row.runs[0]),
            "runs": [
                {"name": show(run.name), "id": run.id, "seed": show(run.config.get("seed")),
                 "day": run.day, "url": run.url}
                for run in row.runs
            ],
        }
        for row in table.rows
    ]  # fmt: skip
    return {
        "name": table.name, "metric": table.metric, "rows": rows, "figures": figures_of(table),
        "pictures": pictures_of(table, sprites),
    }  # fmt: skip


def _section(table: Table, data: dict[str, Any]) -> dict[str, Any]:
    """What the template needs beside a table, whose best row is the first, and its ``data``."""
    hidden = {"place", "from_best", "differs", "checksum", "command", "data", *table.columns}
    known = dict.fromkeys(
        name for row in table.rows for name, value in row.values.items() if value not in (None, "")
    )
    columns = [*table.columns, *(name for name in known if name not in hidden)]
    question, _, about = table.question.partition("\n\n")
    question = question.removeprefix("Question:").replace("\n", " ").strip()
    reasons = reasons_of(table)
    listed = [*reasons, f"And {len(reasons) - LISTED} more."]
    return {
        "table": table,
        "data": data,
        "question": question[:1].upper() + question[1:],
        "about": about.strip(),
        "columns": columns,
        "words": [name for name in columns if is_text(name, table)],
        "notes": [note for note in table.notes if note not in listed],
        "curves": [name for name in data["figures"] if name.startswith("curves ")],
    }
