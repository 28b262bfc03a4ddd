"""Demo pictures as data for the page: one sheet of pictures a run and step, each kept once."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from common.media import MARGIN, OVERVIEW_COLUMNS
from reports.pictures import demos_of
from reports.table import Table
from tracking.record import DemoPicture, FolderRun, RunRecord

LARGEST = 128  # pixels: larger demo pictures are shrunk for the page
KINDS = 4  # pictures side by side in an overview: input, output, target, error


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
    runs: list[tuple[int, int, RunRecord, dict[int, DemoPicture]]] = []  # turn, row, run, pictures
    for number, row in enumerate(table.rows):
        found = [(run, pictures) for run in row.runs if (pictures := demos_of(run))]
        runs += [(turn, number, *each) for turn, each in enumerate(found)]
    if not runs:
        return None
    columns = runs[0][-1]
    rows: dict[int, list[dict[str, Any]]] = {}
    added: list[tuple[dict[str, Any], RunRecord, dict[int, DemoPicture]]] = []
    for _, number, run, pictures in sorted(runs, key=lambda each: each[0]):
        if final := _final(run, pictures, list(columns), sprites):
            rows.setdefault(number, []).append(final)
            added.append((final, run, pictures))
    for final, run, pictures in added:
        if isinstance(run, FolderRun) and list(pictures) == list(columns):
            final["steps"] = _earlier(run, pictures, sprites) + final["steps"]
    return {
        "columns": [{"class": p.class_name, "damage": p.damage} for p in columns.values()],
        "rows": [{"row": number, "seeds": seeds} for number, seeds in rows.items()],
        "without": len(runs) - len(added),
    }


def _pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _final(
    run: RunRecord, pictures: dict[int, DemoPicture], order: list[int], sprites: Sprites
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


def _earlier(
    run: FolderRun, pictures: dict[int, DemoPicture], sprites: Sprites
) -> list[dict[str, Any]]:
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
