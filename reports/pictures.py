"""The same demo pictures for every run, side by side on one sheet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from common.errors import InputError
from reports.formats import digits
from reports.plots import slug
from reports.records import DemoPicture
from reports.table import Row, Table

_CELL, _GAP, _LINE = 84, 6, 18  # pixels
_INK, _PAPER = "#1a1c1e", "#ffffff"


def demo_of(row: Row) -> dict[int, DemoPicture]:
    """The demo pictures of the row's first run that has any, by index."""
    for run in row.runs:
        if pictures := run.pictures():
            return {picture.index: picture for picture in pictures if "output" in picture.png}
    return {}


def save_sheets(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write sheets of the demo pictures into ``folder/<sweep>``; returns these folders.

    ``overview.png`` has a column a picture and a row a run; ``<index>-<class>-<side>.png`` has a
    row a run: input, output, target, error. Raises ``InputError`` if no run has pictures, or if
    the folder cannot be written.
    """
    paths = []
    for table in tables:
        demos = [(row, demo) for row in table.rows if (demo := demo_of(row))]
        if not demos:
            continue
        paths.append(folder / slug(table.name))
        try:
            paths[-1].mkdir(parents=True, exist_ok=True)
            _overview(table, demos).save(paths[-1] / "overview.png")
            for index, picture in demos[0][1].items():
                name = f"{index}-{slug(picture.class_name)}-{slug(picture.side)}.png"
                _sheet(table, demos, index).save(paths[-1] / name)
        except OSError as error:
            raise InputError(f"{folder}: pictures cannot be written ({error})") from None
    if not paths:
        raise InputError("--images: none of these runs has demo pictures (tables/, pictures/demo)")
    return paths


def _overview(table: Table, demos: Sequence[tuple[Row, dict[int, DemoPicture]]]) -> Image.Image:
    """A column a picture; rows: input, every run's output in rank order, target."""
    first = demos[0][1]
    rows = [("input", [p.png.get("input") for p in first.values()])]
    for row, demo in demos:
        outputs = [demo[i].png["output"] if i in demo else None for i in first]
        rows.append((_name(table, row), outputs))
    rows.append(("target", [p.png.get("target") for p in first.values()]))
    return _grid([f"{p.class_name}\n{p.side}" for p in first.values()], rows)


def _sheet(
    table: Table, demos: Sequence[tuple[Row, dict[int, DemoPicture]]], index: int
) -> Image.Image:
    """One demo picture; a row a run: input, output, target, error."""
    rows = []
    for row, demo in demos:
        if index in demo:
            picture = demo[index]
            name = f"{_name(table, row)}\nthis picture: {digits(picture.l1)}"
            kinds = ("input", "output", "target", "error")
            rows.append((name, [picture.png.get(kind) for kind in kinds]))
    return _grid(["input", "output", "target", "error"], rows)


def _name(table: Table, row: Row) -> str:
    return f"{row.label(table.varying)}\n{table.metric} {digits(row.values[table.metric].mean)}"


def _grid(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[bytes | None]]]) -> Image.Image:
    font = ImageFont.load_default(13)
    lines = [line for text in (*heads, *(name for name, _ in rows)) for line in text.split("\n")]
    left = _GAP + max(int(font.getlength(line)) for line in lines) + 2 * _GAP
    top = _GAP + _LINE * max(head.count("\n") + 1 for head in heads)
    step = max(_CELL, *(int(font.getlength(line)) for h in heads for line in h.split("\n"))) + _GAP
    height = top + len(rows) * (_CELL + _GAP)
    sheet = Image.new("RGB", (left + len(heads) * step, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((left + column * step, _GAP // 2), head, _INK, font)
    for number, (name, cells) in enumerate(rows):
        y = top + number * (_CELL + _GAP)
        draw.text((_GAP, y + _GAP), name, _INK, font)
        for column, png in enumerate(cells):
            if png is not None:
                picture = Image.open(io.BytesIO(png)).convert("RGB")
                sheet.paste(_enlarged(picture), (left + column * step, y))
    return sheet


def _enlarged(picture: Image.Image) -> Image.Image:
    """Scaled to fit a cell, by a whole factor without smoothing where that is possible."""
    factor = _CELL / max(picture.size)
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX)
