"""Tables as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

import io
import textwrap
from collections.abc import Callable, Sequence

from common.files import csv_text, json_text
from reports.statistics import Difference, Spread
from reports.table import Row, Table, plain, show, title
from tasks.metrics import find, format_value

_DROPPED_FIRST = (
    "images_per_second", "minutes", "parameters", "test_difference", "difference", "from_best",
    "published",
)  # fmt: skip
_NUMBERS = {
    "from_baseline": "+.2f", "difference": "+.5f", "test_difference": "+.5f", "minutes": ".2f",
    "parameters": ",.0f", "receptive_field": ",.0f", "multiply_adds": ",.0f",
    "images_per_second": ",.0f", "images": ",.0f",
}  # fmt: skip


def digits(value: float, metric: str) -> str:
    """A value of ``metric`` in its own format, or with the digits that tell losses apart."""
    if find(metric):
        return format_value(metric, value)
    return f"{value:.5f}" if abs(value) < 1 else f"{value:.3f}"


def cell(row: Row, column: str, table: Table) -> str:
    """What a reader sees of a row of ``table`` in a column; a dash where nothing is known."""
    value = row.values.get(column)
    if isinstance(value, Spread):
        shown = digits(value.mean, column)
        decimals = len(shown.partition(".")[2])
        return shown + ("" if value.std is None else f" ± {value.std:.{decimals}f}")
    if isinstance(value, Difference):
        return f"{value.mean:+.4g} [{value.low:+.3g}, {value.high:+.3g}]"
    if isinstance(value, (int, float)) and column in ("published", "best_setting"):
        return digits(value, table.metric)
    if isinstance(value, (int, float)) and column in _NUMBERS:
        return format(value, _NUMBERS[column])
    return show(value)


def is_text(column: str, table: Table) -> bool:
    """Whether a column reads from the left (words) rather than from the right (numbers)."""
    return any(isinstance(row.values.get(column), (str, bool)) for row in table.rows)


def fitting(table: Table, width: int | None) -> list[str]:
    """The columns of ``table`` that fit ``width`` characters, without the least telling ones."""
    needed = {
        column: 3 + max(len(title(column)), *(len(cell(row, column, table)) for row in table.rows))
        for column in table.columns
    }
    settings = [c for c in table.columns if c not in ("place", table.metric, *_DROPPED_FIRST)]
    for column in (*_DROPPED_FIRST, *settings[:0:-1]):
        if width is not None and 1 + sum(needed.values()) > width:
            needed.pop(column, None)
    return list(needed)


def to_rich(tables: Sequence[Table], width: int | None = None) -> str:
    """For the terminal; with ``width``, columns that do not fit are left out and named."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=(file := io.StringIO()), width=1000, color_system=None, soft_wrap=True)
    for table in tables:
        shown = RichTable(title=Text(table.name), title_justify="left", title_style="bold")
        columns = fitting(table, width)
        for column in columns:
            justify = "left" if is_text(column, table) else "right"
            shown.add_column(title(column), justify=justify, no_wrap=True)
        for row in table.rows:
            shown.add_row(*(Text(cell(row, column, table)) for column in columns))
        console.print(shown)
        hidden = ", ".join(title(name) for name in table.columns if name not in columns)
        if hidden:
            hint = "(the terminal is too narrow; choose with --columns)"
            console.print(Text(f"Columns left out: {hidden} {hint}"))
        for note in table.notes:
            console.print(Text(textwrap.fill(note, width or 1000)))
        console.print()
    return file.getvalue().rstrip() + "\n"


def _texts(table: Table, escape: Callable[[str], str]) -> list[list[str]]:
    """The headings and the cells of every row, escaped."""
    rows = [[cell(row, column, table) for column in table.columns] for row in table.rows]
    return [[escape(text) for text in row] for row in ([*map(title, table.columns)], *rows)]


def to_markdown(tables: Sequence[Table]) -> str:
    """GitHub's tables, notes as paragraphs below."""
    parts = []
    for table in tables:
        heads, *rows = _texts(table, _markdown)
        rules = ["---" if is_text(column, table) else "---:" for column in table.columns]
        lines = [f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows)]
        notes = [f"\n{_markdown(note)}" for note in table.notes]
        parts.append("\n".join([f"## {_markdown(table.name)}\n", *lines, *notes]))
    return "\n\n".join(parts) + "\n"


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def to_latex(tables: Sequence[Table]) -> str:
    """``tabular`` with the rules of booktabs, notes as a comment above."""
    parts = []
    for table in tables:
        align = "".join("l" if is_text(column, table) else "r" for column in table.columns)
        texts = _texts(table, lambda text: text.translate(_LATEX))
        heads, *rows = (" & ".join(cells) + r" \\" for cells in texts)
        notes = [f"% {line}" for line in (table.name, *table.notes)]
        begin = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", heads, r"\midrule"]
        parts.append("\n".join([*notes, *begin, *rows, r"\bottomrule", r"\end{tabular}"]))
    return "\n\n".join(parts) + "\n"


_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
})  # fmt: skip


def to_csv(tables: Sequence[Table]) -> str:
    """One table for all sweeps (first column ``sweep``), numbers unrounded."""
    return csv_text([{"sweep": t.name} | plain(row, t.columns) for t in tables for row in t.rows])


def to_json(tables: Sequence[Table]) -> str:
    """A list of tables, each with its rows (raw numbers), run ids and notes."""
    found = [
        {
            "sweep": table.name,
            "question": table.question,
            "metric": table.metric,
            "rows": [
                plain(row, table.columns) | {"run_ids": [run.id for run in row.runs]}
                for row in table.rows
            ],
            "notes": table.notes,
        }
        for table in tables
    ]
    return json_text(found, indent=2) + "\n"


WRITERS: dict[str, Callable[[Sequence[Table]], str]] = {
    "rich": to_rich,
    "markdown": to_markdown,
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
}
