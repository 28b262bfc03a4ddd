"""The demo pictures of compared runs: a sheet a table as PNG, and sprites for the page."""

import base64
import io
import re
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from common.errors import InputError
from common.files import write_output
from common.media import MARGIN, OVERVIEW_COLUMNS
from reports.formats import digits
from reports.table import Row, Table
from tracking.record import DemoPicture, FolderRun, RunRecord

_CELL, _GAP, _LINE = 84, 6, 18  # pixels
_INK, _PAPER = "#1a1c1e", "#ffffff"
LARGEST = 128  # pixels: larger demo pictures are shrunk for the page
KINDS = 4  # pictures side by side in an overview: input, output, target, error
Demos = dict[int, DemoPicture]  # by index
Strip = tuple[str, Demos, str]  # a row of a sheet: the text beside it, and which pictures it has


def slug(text: str) -> str:
    """A file name made of ``text``."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "runs"


def demos_of(row: Row) -> list[tuple[RunRecord, Demos]]:
    """The row's runs that recorded demo pictures, each with them."""
    found = [(run, {p.index: p for p in run.examples() if "output" in p.png}) for run in row.runs]
    return [(run, pictures) for run, pictures in found if pictures]


def save_sheets(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write ``folder/<sweep>.png``: a column a picture; input, target, output and error by row.

    Raises ``InputError`` if no run has pictures, or if they cannot be written.
    """
    paths = []
    for table in tables:
        if sheet := _sheet(table):
            paths.append(folder / f"{slug(table.name)}.png")
            write_output(paths[-1], partial(sheet.save, format="PNG"))
    if not paths:
        raise InputError("--images: none of these runs has demo pictures (tables/, pictures/demo)")
    return paths


def _sheet(table: Table) -> Image.Image | None:
    """The pictures of each row's first run that has any; rows without are left out."""
    strips: list[Strip] = []
    for row in table.rows:
        found = demos_of(row)
        if not found:
            continue
        run, pictures = found[0]
        if not strips:
            strips = [("input", pictures, "input"), ("target", pictures, "target")]
        label = fill(row.label(table.varying), 60, max_lines=2, placeholder=" …")
        name = f"{label}\n{table.metric} "
        name += digits(row.values[table.metric].mean, table.metric)
        if len(row.runs) > 1:
            name += f" (mean of {len(row.runs)} seeds)\npictures of seed {run.config.get('seed')}"
        strips += [(name, pictures, "output"), ("error", pictures, "error")]
    return _drawn(strips) if strips else None


def _drawn(strips: Sequence[Strip]) -> Image.Image:
    """The strips below each other; their columns are the pictures of the first one."""
    font = ImageFont.load_default(13)
    columns = strips[0][1]
    heads = [f"{p.class_name}\n{p.damage}" for p in columns.values()]

    def width(texts: Sequence[str]) -> int:
        return max(int(font.getlength(line)) for text in texts for line in text.split("\n"))

    left, step = width([name for name, *_ in strips]) + 3 * _GAP, max(_CELL, width(heads)) + _GAP
    top = _GAP + 2 * _LINE
    size = (left + len(heads) * step, top + len(strips) * (_CELL + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((left + column * step, _GAP // 2), head, _INK, font)
    for number, (name, pictures, kind) in enumerate(strips):
        y = top + number * (_CELL + _GAP)
        draw.text((_GAP, y + _GAP), name, _INK, font)
        for column, index in enumerate(columns):
            if index in pictures and kind in pictures[index].png:
                picture = Image.open(io.BytesIO(pictures[index].png[kind])).convert("RGB")
                small = max(picture.size) <= _CELL
                method = Image.Resampling.NEAREST if small else Image.Resampling.BOX
                fitted = ImageOps.contain(picture, (_CELL, _CELL), method)
                sheet.paste(fitted, (left + column * step, y))
    return sheet


class Sprites:
    """Sheets as base64 of lossless WebP, without repeats, up to ``budget`` characters in all."""

    def __init__(self, budget: float) -> None:
        self.left = budget
        self.sheets: list[str] = []
        self._known: dict[str, int] = {}

    def add(self, pictures: Sequence[np.ndarray | None]) -> int | None:
        """Put pictures side by side; returns the sheet's number, or None beyond the budget."""
        blank = np.zeros_like(next(p for p in pictures if p is not None))
        same = [blank if p is None or p.shape != blank.shape else p for p in pictures]
        image = Image.fromarray(np.concatenate(same, axis=1))
        height, width = blank.shape[:2]
        scale = LARGEST / max(height, width)
        if scale < 1:
            image = image.resize((round(width * scale) * len(same), round(height * scale)))
        image.save(file := io.BytesIO(), "WebP", lossless=True)
        sheet = base64.b64encode(file.getvalue()).decode()
        if sheet not in self._known:
            if len(sheet) > self.left:
                return None
            self.left -= len(sheet)
            self._known[sheet] = len(self.sheets)
            self.sheets.append(sheet)
        return self._known[sheet]


def pictures_of(table: Table, sprites: Sprites) -> dict[str, Any] | None:
    """The demo pictures by row and seed, from the first row up to the size limit.

    The final pictures of all rows go before other seeds, and those before earlier steps.
    """
    found = [demos_of(row) for row in table.rows]
    columns = next((runs[0][1] for runs in found if runs), None)
    if columns is None:
        return None
    rows: dict[int, list[dict[str, Any]]] = {}
    added: list[tuple[dict[str, Any], RunRecord, Demos]] = []
    for runs in zip_longest(*found):  # the first run of each row, then the second
        for number, each in enumerate(runs):
            if each is None:  # this row has fewer
                continue
            run, pictures = each
            if final := _final(run, pictures, list(columns), sprites):
                rows.setdefault(number, []).append(final)
                added.append((final, run, pictures))
    for final, run, pictures in added:
        if isinstance(run, FolderRun) and list(pictures) == list(columns):
            final["steps"] = _earlier(run, pictures, sprites) + final["steps"]
    return {
        "columns": [{"class": p.class_name, "damage": p.damage} for p in columns.values()],
        "rows": [{"row": number, "seeds": seeds} for number, seeds in rows.items()],
        "without": sum(map(len, found)) - len(added),
    }


def _pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _final(
    run: RunRecord, pictures: Demos, order: list[int], sprites: Sprites
) -> dict[str, Any] | None:
    numbers = {}
    for kind in ("input", "target", "output"):
        png = [pictures[i].png.get(kind) if i in pictures else None for i in order]
        if not any(png):
            return None
        numbers[kind] = sprites.add([_pixels(each) if each else None for each in png])
    if None in numbers.values():
        return None
    errors = [round(pictures[i].l1, 5) if i in pictures else None for i in order]
    seen = run.summary.get("images_seen") or 0
    step = {"seen": seen, "sheet": numbers.pop("output"), "l1": errors}
    return {"seed": run.config.get("seed"), "steps": [step], **numbers}


def _earlier(run: FolderRun, pictures: Demos, sprites: Sprites) -> list[dict[str, Any]]:
    """The outputs at earlier steps, cut from the overviews that the run drew there."""
    targets = [_pixels(p.png["target"]) for p in pictures.values() if "target" in p.png]
    height, width = targets[0].shape[:2]
    y, x = height + MARGIN, KINDS * width + MARGIN  # from one strip to the next
    tops = [MARGIN + y * (n // OVERVIEW_COLUMNS) for n in range(len(targets))]
    # Each strip begins with the input, which is left out.
    lefts = [MARGIN + x * (n % OVERVIEW_COLUMNS) + width for n in range(len(targets))]
    steps = []
    for path in sorted((run.folder / "pictures").glob("images-*.png")):
        sheet = _pixels(path.read_bytes())
        if sheet.shape[:2] != (tops[-1] + y, OVERVIEW_COLUMNS * x + MARGIN):
            continue
        outputs = [sheet[i : i + height, j : j + width] for i, j in zip(tops, lefts, strict=True)]
        number = sprites.add(outputs)
        if number is None:
            break
        errors = [
            round(float(np.abs(a.astype(int) - b).mean()) / 255, 5)
            for a, b in zip(outputs, targets, strict=True)
        ]
        seen = int(path.stem.removeprefix("images-"))
        steps.append({"seen": seen, "sheet": number, "l1": errors})
    return steps
