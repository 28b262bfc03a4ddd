"""The same demo pictures for every run, side by side on one sheet."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from common.errors import InputError
from reports.formats import digits
from reports.plots import slug
from reports.table import Table
from tracking.record import DemoPicture

_CELL, _GAP, _LINE = 84, 6, 18  # pixels
_INK, _PAPER = "#1a1c1e", "#ffffff"


@dataclass(frozen=True)
class Demo:
    """The demo pictures of a setting by index, and what is said beside them."""

    pictures: dict[int, DemoPicture]
    label: str  # the setting
    result: str  # its figure, and whose the pictures are


def demos_of(table: Table) -> list[Demo]:
    """The demo pictures of each row's first run that has any; rows without are left out."""
    demos = []
    for row in table.rows:
        result = f"{table.metric} {digits(row.values[table.metric].mean)}"
        for run in row.runs:
            if pictures := {p.index: p for p in run.examples() if "output" in p.png}:
                if len(row.runs) > 1:
                    seed = run.config.get("seed")
                    result += f" (mean of {len(row.runs)} seeds)\npictures of seed {seed}"
                demos.append(Demo(pictures, row.label(table.varying), result))
                break
    return demos


def save_sheets(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write sheets of the demo pictures into ``folder/<sweep>``; returns these folders.

    ``overview.png`` has a column a picture and a row a setting; ``<index>-<class>-<side>.png`` has
    a row a setting: input, output, target, error. Raises ``InputError`` if no run has pictures,
    or if the folder cannot be written.
    """
    paths = []
    for table in tables:
        demos = demos_of(table)
        if not demos:
            continue
        paths.append(folder / slug(table.name))
        try:
            paths[-1].mkdir(parents=True, exist_ok=True)
            _overview(demos).save(paths[-1] / "overview.png")
            for index, picture in demos[0].pictures.items():
                name = f"{index}-{slug(picture.class_name)}-{slug(picture.damage)}.png"
                _sheet(demos, index).save(paths[-1] / name)
        except OSError as error:
            raise InputError(f"{folder}: pictures cannot be written ({error})") from None
    if not paths:
        raise InputError("--images: none of these runs has demo pictures (tables/, pictures/demo)")
    return paths


def _overview(demos: Sequence[Demo]) -> Image.Image:
    """A column a picture; rows: input, every setting's output in rank order, target."""
    first = demos[0].pictures
    rows = [("input", [p.png.get("input") for p in first.values()])]
    for demo in demos:
        outputs = [demo.pictures[i].png["output"] if i in demo.pictures else None for i in first]
        rows.append((f"{demo.label}\n{demo.result}", outputs))
    rows.append(("target", [p.png.get("target") for p in first.values()]))
    return _grid([f"{p.class_name}\n{p.damage}" for p in first.values()], rows)


def _sheet(demos: Sequence[Demo], index: int) -> Image.Image:
    """One demo picture; a row a setting: input, output, target, error."""
    rows = []
    for demo in demos:
        if picture := demo.pictures.get(index):
            name = f"{demo.label}\n{demo.result}\nthis picture: {digits(picture.l1)}"
            kinds = ("input", "output", "target", "error")
            rows.append((name, [picture.png.get(kind) for kind in kinds]))
    return _grid(["input", "output", "target", "error"], rows)


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
