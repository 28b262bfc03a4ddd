"""The same demo pictures for every setting, side by side on one sheet."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from PIL import Image, ImageDraw, ImageFont, ImageOps

from common.errors import InputError
from common.files import write_output
from reports.formats import digits
from reports.table import Table
from tracking.record import DemoPicture, RunRecord

_CELL, _GAP, _LINE = 84, 6, 18  # pixels
_INK, _PAPER = "#1a1c1e", "#ffffff"
Sheet = list[tuple[str, list[bytes | None]]]  # what is said beside a row, and its pictures as PNG


def slug(text: str) -> str:
    """A file name made of ``text``."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "runs"


def demos_of(run: RunRecord) -> dict[int, DemoPicture]:
    """The run's demo pictures by index; empty where none were recorded."""
    return {p.index: p for p in run.examples() if "output" in p.png}


def save_sheets(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write ``folder/<sweep>.png``: a column a picture; input, target, output and error by row.

    Raises ``InputError`` if no run has pictures, or if the folder cannot be written.
    """
    paths = []
    for table in tables:
        if sheet := _sheet(table):
            paths.append(folder / f"{slug(table.name)}.png")
            try:
                write_output(paths[-1], lambda file, sheet=sheet: sheet.save(file, "PNG"))
            except OSError as error:
                raise InputError(f"{folder}: pictures cannot be written ({error})") from None
    if not paths:
        raise InputError("--images: none of these runs has demo pictures (tables/, pictures/demo)")
    return paths


def _sheet(table: Table) -> Image.Image | None:
    """The pictures of each row's first run that has any; rows without are left out."""
    first: dict[int, DemoPicture] = {}
    sheet: Sheet = []

    def add(name: str, pictures: dict[int, DemoPicture], kind: str) -> None:
        sheet.append((name, [pictures[i].png.get(kind) if i in pictures else None for i in first]))

    for row in table.rows:
        found = [(run, pictures) for run in row.runs if (pictures := demos_of(run))]
        if not found:
            continue
        run, pictures = found[0]
        if not first:
            first = pictures
            add("input", first, "input")
            add("target", first, "target")
        label = fill(row.label(table.varying), 60, max_lines=2, placeholder=" …")
        name = f"{label}\n{table.metric} "
        name += digits(row.values[table.metric].mean, table.metric)
        if len(row.runs) > 1:
            name += f" (mean of {len(row.runs)} seeds)\npictures of seed {run.config.get('seed')}"
        add(name, pictures, "output")
        add("error", pictures, "error")
    heads = [f"{p.class_name}\n{p.damage}" for p in first.values()]
    return _drawn(heads, sheet) if sheet else None


def _drawn(heads: Sequence[str], rows: Sheet) -> Image.Image:
    font = ImageFont.load_default(13)

    def width(texts: Sequence[str]) -> int:
        return max(int(font.getlength(line)) for text in texts for line in text.split("\n"))

    left, step = width([name for name, _ in rows]) + 3 * _GAP, max(_CELL, width(heads)) + _GAP
    top = _GAP + 2 * _LINE
    size = (left + len(heads) * step, top + len(rows) * (_CELL + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((left + column * step, _GAP // 2), head, _INK, font)
    for number, (name, cells) in enumerate(rows):
        y = top + number * (_CELL + _GAP)
        draw.text((_GAP, y + _GAP), name, _INK, font)
        for column, png in enumerate(cells):
            if png is not None:
                picture = Image.open(io.BytesIO(png)).convert("RGB")
                small = max(picture.size) <= _CELL
                method = Image.Resampling.NEAREST if small else Image.Resampling.BOX
                fitted = ImageOps.contain(picture, (_CELL, _CELL), method)
                sheet.paste(fitted, (left + column * step, y))
    return sheet
