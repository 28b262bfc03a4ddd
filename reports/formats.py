"""Tables as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

import csv
import io
import textwrap
from collections.abc import Callable, Sequence

from common.files import csv_text, json_text
from reports.statistics import Difference, Spread
from reports.table import Row, Table, plain
from reports.words import show, title
from tasks.metrics import find, format_value

_LEAST_TELLING = (
    "images_per_second", "minutes", "parameters", "test_difference", "difference", "from_best",
    "published",
)  # fmt: skip
_WHOLE = ("parameters", "receptive_field", "multiply_adds", "images_per_second", "images")


def digits(value: float, beside: Sequence[float] = (), metric: str = "") -> str:
    """A value of ``metric`` in its own format.

    Of an unknown one: five decimals where it or one beside it is below 1, else three.
    """
    if find(metric):
        return format_value(metric, value)
    return f"{value:.5f}" if min(map(abs, (value, *beside))) < 1 else f"{value:.3f}"


def cell(row: Row, column: str, table: Table) -> str:
    """What a reader sees of a row of ``table`` in a column; a dash where nothing is known."""
    value = row.values.get(column)
    if isinstance(value, Spread):
        found = [other.values.get(column) for other in table.rows]
        beside = [other.mean for other in found if isinstance(other, Spread)]
        shown = digits(value.mean, beside, column)
        decimals = len(shown.partition(".")[2])
        return shown + ("" if value.std is None else f" ± {value.std:.{decimals}f}")
    if value is None:
        return "-"
    if isinstance(value, Difference):
        return f"{value.mean:+.4g} [{value.low:+.3g}, {value.high:+.3g}]"
    if column == "from_baseline":
        return f"{value:+.2f} %"
    if column in ("difference", "test_difference"):
        return f"{value:+.5f}"
    if column in ("published", "best_setting"):
        return digits(value, metric=table.metric)
    if column == "minutes":
        return f"{value:.2f}"
    if column in _WHOLE and isinstance(value, (int, float)):
        return f"{value:,.0f}"
    return show(value)


def is_text(column: str, table: Table) -> bool:
    """Whether a column reads from the left (words) rather than from the right (numbers)."""
    return any(isinstance(row.values.get(column), (str, bool)) for row in table.rows)


def fitting(table: Table, width: int | None) -> list[str]:
    """The columns of ``table`` that fit ``width`` characters, without the least telling ones."""
    columns = list(table.columns)

    def needed() -> int:
        rows = [[cell(row, column, table) for column in columns] for row in table.rows]
        heads = [title(column) for column in columns]
        return 1 + sum(3 + max(map(len, texts)) for texts in zip(heads, *rows, strict=True))

    for column in _LEAST_TELLING:
        if width is not None and needed() > width and column in columns:
            columns.remove(column)
    others = [column for column in columns if column not in ("place", table.metric)]
    while width is not None and needed() > width and len(others) > 1:
        columns.remove(others.pop())
    return columns


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
            console.print(Text(f"Not shown, for want of width: {hidden} (choose with --columns)"))
        for note in table.notes:
            console.print(Text(textwrap.fill(note, width or 1000)))
        console.print()
    return file.getvalue().rstrip() + "\n"


def to_markdown(tables: Sequence[Table]) -> str:
    """GitHub's tables, notes as paragraphs below."""
    parts = []
    for table in tables:
        heads = [_markdown(title(column)) for column in table.columns]
        rules = ["---" if is_text(column, table) else "---:" for column in table.columns]
        rows = [[_markdown(cell(row, c, table)) for c in table.columns] for row in table.rows]
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
        lines = [f"% {line}" for line in (table.name, *table.notes)]
        lines += [f"\\begin{{tabular}}{{{align}}}", "\\toprule"]
        lines += [" & ".join(_latex(title(c)) for c in table.columns) + " \\\\", "\\midrule"]
        lines += [
            " & ".join(_latex(cell(row, c, table)) for c in table.columns) + " \\\\"
            for row in table.rows
        ]
        parts.append("\n".join([*lines, "\\bottomrule", "\\end{tabular}"]))
    return "\n\n".join(parts) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


def to_csv(tables: Sequence[Table]) -> str:
    """One table for all sweeps (first column ``sweep``), numbers unrounded."""
    return csv_text([{"sweep": t.name} | plain(row, t.columns) for t in tables for row in t.rows])


def to_tsv(tables: Sequence[Table]) -> str:
    """As ``to_csv``, with tabs; a tab or line break inside a value becomes a space."""
    rows = csv.reader(io.StringIO(to_csv(tables)))
    lines = ("\t".join(" ".join(value.split()) for value in row) for row in rows)
    return "\n".join(lines) + "\n"


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


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "rich": to_rich,
    "markdown": to_markdown,
    "csv": to_csv,
    "tsv": to_tsv,
    "json": to_json,
    "latex": to_latex,
}
