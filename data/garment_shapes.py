"""How each of the ten garments is cut. Lengths: the image's shorter side is 2, its middle 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data.painting import Array, Canvas, box, ellipse, limb, line


def _torso(c: Canvas, top: float, hem: Array, shoulder: Array, waist: Array, low: Array) -> Array:
    width = line(c.y, (top, shoulder), (0.05, waist), (0.9, low))
    slope = 0.35 * np.maximum(c.mirrored - 0.18, 0)  # shoulders fall off to the sides
    return np.maximum(np.maximum(c.mirrored - width, top + slope - c.y), c.y - hem)


def _upper(
    c: Canvas, long: Array, top: float, hem: Array, waist: tuple = (0.42, 0.52)
) -> tuple[Array, Array]:
    """Torso and sleeves (``long`` 0: short, 1: to the wrist) in cloth; returns both distances."""
    dice, x, y = c.dice, c.mirrored, c.y
    shoulder = dice.uniform(0.46, 0.54)
    body = _torso(c, top, hem, shoulder, dice.uniform(*waist), dice.uniform(*waist))
    start = (shoulder - 0.1, top + 0.26)
    reach, drop = dice.uniform(0.26, 0.34), dice.uniform(0.3, 0.4)
    end = (
        start[0] + reach + long * dice.uniform(0.0, 0.08),
        start[1] + drop + long * dice.uniform(0.75, 0.95),
    )
    cut = (x - end[0]) * (end[0] - start[0]) + (y - end[1]) * (end[1] - start[1])
    sleeves = limb(x, y, start, end, (0.17 + 0 * long, 0.17 - 0.055 * long))
    sleeves = np.maximum(sleeves, cut)
    cloth = c.cloth()
    c.paint(np.minimum(body, sleeves), cloth)
    c.darken(np.maximum(np.abs(body) - 0.025, sleeves + 0.03), 0.45)
    return body, sleeves


def _neck(c: Canvas, top: float, wide: Array, deep: Array, band: float) -> None:
    """A round neckline with a band of trim, cut out down to the back's inside."""
    hole = ellipse(c.x, c.y, (0, top - 0.02), (wide, deep))
    c.paint(np.maximum(hole - band, top - 0.06 - c.y), c.trim)
    c.darken(hole, 0.75)


def _emblem(c: Canvas) -> None:
    """On some garments a disc or a bar on the chest, in the middle or at one side."""
    dice = c.dice
    middle = dice.chance(0.5)
    centre = ((1 - middle) * dice.sign() * 0.2, dice.uniform(-0.35, -0.1))
    disc = ellipse(c.x, c.y, centre, (0.1 + 0.12 * middle, 0.1 + 0.12 * middle))
    bar = box(c.x, c.y, centre, (0.1 + 0.2 * middle, 0.09))
    c.paint(np.where(dice.chance(0.5) > 0, disc, bar), c.second, dice.chance(0.35))


def _t_shirt(c: Canvas) -> None:
    top = -0.82
    _upper(c, 0 * c.dice.uniform(0, 1), top, c.dice.uniform(0.78, 0.88))
    _emblem(c)
    _neck(c, top, c.dice.uniform(0.2, 0.28), c.dice.uniform(0.14, 0.26), 0.05)
    c.fold()


def _trouser(c: Canvas) -> None:
    dice, x, y = c.dice, c.mirrored, c.y
    hip, hem = dice.uniform(0.34, 0.4), dice.uniform(0.36, 0.46)
    crotch = dice.uniform(-0.42, -0.28)
    outer = line(y, (-0.9, 0.29), (-0.5, hip), (0.92, hem))
    inner = line(y, (crotch, -0.03), (crotch + 0.12, 0.02), (0.92, hem - dice.uniform(0.2, 0.3)))
    legs = np.maximum(np.maximum(x - outer, inner - x), np.abs(y) - 0.92)
    c.paint(legs, c.cloth(0.6))
    c.seam(np.maximum(np.abs(x - (outer + inner) / 2), crotch - y), 0.2 * dice.chance(0.6))
    c.darken(np.maximum(np.abs(c.x) - 0.015, np.maximum(y - crotch, legs)), 0.4)
    c.paint(np.maximum(legs, y + 0.8), c.trim)
    pocket = np.maximum(np.abs(y + 0.72 - 0.9 * (x - 0.2)) - 0.02, np.abs(x - 0.25) - 0.1)
    c.darken(np.maximum(pocket, legs), 0.4)
    c.fold()


def _pullover(c: Canvas) -> None:
    top, hem = -0.8, c.dice.uniform(0.72, 0.84)
    body, sleeves = _upper(c, 1 + 0 * hem, top, hem, (0.44, 0.54))
    ribs = c.trim
    c.paint(np.maximum(body, hem - 0.14 - c.y), ribs)
    cuff = c.dice.uniform(0.56, 0.62)
    c.paint(np.maximum(np.maximum(sleeves, -body), cuff - c.y - 0.1 * c.mirrored), ribs)
    _emblem(c)
    _neck(c, top, c.dice.uniform(0.17, 0.23), c.dice.uniform(0.1, 0.18), 0.08)
    knit = np.abs(c.x * 7 - np.floor(c.x * 7) - 0.5) - 0.2
    c.darken(np.maximum(knit * 0.15, body), 0.12 * c.dice.chance(0.5))
    c.fold()


def _dress(c: Canvas) -> None:
    dice, x, y = c.dice, c.mirrored, c.y
    waist_at = dice.uniform(-0.3, -0.05)
    waist, hem = dice.uniform(0.17, 0.24), dice.uniform(0.34, 0.62)
    width = line(y, (-0.9, dice.uniform(0.22, 0.3)), (waist_at, waist), (0.92, hem))
    slope = 0.3 * np.maximum(x - 0.1, 0)
    body = np.maximum(np.maximum(x - width, -0.9 + slope - y), y - 0.92)
    reach = dice.uniform(0.0, 0.28)
    sleeve = limb(x, y, (0.2, -0.74), (0.2 + reach, -0.7 + 0.9 * reach), (0.11, 0.1))
    sleeve = np.where(dice.chance(0.5) > 0, sleeve, 1)
    c.paint(np.minimum(body, sleeve), c.cloth())
    pleats = np.abs(x / np.maximum(width, 0.1) * 2.5 % 1 - 0.5) - 0.08
    c.darken(np.maximum(np.maximum(pleats * 0.2, waist_at - y), body), 0.2 * dice.chance(0.6))
    belt = np.maximum(np.abs(y - waist_at) - 0.05, body)
    c.paint(belt, c.trim, dice.chance(0.6))
    _neck(c, -0.9, dice.uniform(0.12, 0.18), dice.uniform(0.12, 0.3), 0.03)
    c.fold()


def _buttons(c: Canvas, at: Array | float, top: float, bottom: Array | float, gap: float) -> None:
    nearest = c.y - top - gap * np.floor((c.y - top) / gap) - gap / 2
    knob = np.sqrt((c.x - at) ** 2 + nearest**2) - 0.045
    c.paint(np.maximum(np.maximum(knob, top - c.y), c.y - bottom), c.second)


def _open_collar(c: Canvas, top: float, wide: Array, deep: Array) -> None:
    """A V-neck with two flaps of collar beside it."""
    rim = (c.mirrored / wide) + (c.y - top) / deep - 1
    flaps = np.maximum(rim * 0.15 - 0.06, top - 0.05 - c.y)
    c.paint(flaps, c.trim)
    c.darken(np.maximum(rim * 0.15, top - 0.05 - c.y), 0.8)


def _coat(c: Canvas) -> None:
    dice, top = c.dice, -0.86
    hem = dice.uniform(0.86, 0.94)
    body, sleeves = _upper(c, 1 + 0 * hem, top, hem, (0.46, 0.58))
    side = dice.sign()
    edge = 0.06 * side
    _open_collar(c, top, dice.uniform(0.22, 0.3), dice.uniform(0.5, 0.75))
    c.seam(np.maximum(np.abs(c.x - edge), np.maximum(body + 0.03, -0.3 - c.y)), 0.7)
    _buttons(c, edge - 0.1 * side, -0.2, 0.75, 0.26)
    pocket = box(c.mirrored, c.y, (0.28, dice.uniform(0.3, 0.45)), (0.11, 0.025))
    c.darken(pocket, 0.55)
    belt = np.maximum(np.abs(c.y - 0.12) - 0.055, body)
    c.paint(belt, c.trim, dice.chance(0.35))
    c.darken(np.maximum(sleeves, 0.62 - c.y) + 0.02, 0.25)
    c.fold()


def _shirt(c: Canvas) -> None:
    dice, top = c.dice, -0.84
    hem = 0.8 - 0.35 * np.maximum(c.mirrored - 0.15, 0) + dice.uniform(0.0, 0.08)
    body, _ = _upper(c, dice.chance(0.6), top, hem)
    _open_collar(c, top, dice.uniform(0.2, 0.26), dice.uniform(0.2, 0.34))
    placket = np.maximum(np.maximum(np.abs(c.x) - 0.06, body), top + 0.3 - c.y)
    c.seam(placket, 0.35)
    _buttons(c, 0.0, -0.6, 0.66, 0.21)
    pocket = box(c.x, c.y, (0.24 * dice.sign(), -0.22), (0.1, 0.11))
    c.seam(pocket, 0.5 * dice.chance(0.7))
    c.fold()


def _shoe(c: Canvas, *top: tuple, low: Array | float) -> Array:
    """The outline of a shoe seen from its side, toe to the left: below ``top``, above ``low``."""
    x, y = c.x, c.y
    crest = line(x, *top)
    return np.maximum(np.maximum((crest - y) * 0.7, y - low), np.abs(x) - 0.9)


def _sandal(c: Canvas) -> None:
    dice, x, y = c.dice, c.x, c.y
    heel = dice.uniform(0.0, 0.5)
    foot = line(x, (-0.9, 0.38), (-0.3, 0.38), (0.5, 0.38 - heel), (0.9, 0.36 - heel))
    thick = dice.uniform(0.07, 0.13)
    sole = np.maximum(np.maximum(foot - y, y - foot - thick) * 0.8, np.abs(x) - 0.9)
    wedge = np.maximum(np.maximum(foot - y, y - 0.5), np.maximum(x - 0.88, -0.35 - x))
    stilt = np.maximum(np.maximum(foot - y, y - 0.5), np.abs(x - 0.8 + 0.1 * y) - 0.07)
    c.paint(np.where(dice.chance(0.5) > 0, wedge, stilt), c.trim)
    strap, cloth = dice.uniform(0.05, 0.09), c.cloth(0.4)
    rise, ankle = dice.uniform(0.24, 0.36), -0.12 - heel
    above = y - foot
    toes = np.abs(ellipse(x, y, (-0.52, 0.4), (0.26, rise))) - strap
    instep = np.abs(ellipse(x, y, (-0.2, 0.38 - 0.25 * heel), (0.32, rise + 0.12))) - strap
    for strip, kept in ((toes, 1.0), (instep, dice.chance(0.6))):
        c.paint(np.maximum(strip, above), cloth, kept)
    c.paint(limb(x, y, (-0.4, 0.4 - rise), (0.3, ankle), (strap, strap)), cloth, dice.chance(0.5))
    c.paint(limb(x, y, (0.84, ankle), (0.84, 0.4 - heel), (strap, 1.6 * strap)), cloth)
    c.paint(np.abs(ellipse(x, y, (0.56, ankle), (0.3, 0.13))) - 0.7 * strap, cloth)
    c.paint(sole, c.second)
    c.fold()


def _sneaker(c: Canvas) -> None:
    dice, x, y = c.dice, c.x, c.y
    ankle = dice.uniform(-0.42, -0.25)
    toe = dice.uniform(0.08, 0.16)
    upper = _shoe(
        c, (-0.92, toe + 0.2), (-0.78, toe), (-0.4, toe - 0.06), (0.12, ankle),
        (0.35, ankle + 0.03), (0.55, ankle + 0.1), (0.8, ankle - 0.02), (0.9, ankle + 0.12),
        low=0.42,
    )  # fmt: skip
    c.paint(upper, c.cloth(0.4))
    cap = np.maximum(x + dice.uniform(0.45, 0.6) + 0.3 * y, upper)
    c.paint(cap, c.trim, dice.chance(0.6))
    heel = np.maximum(0.6 + 0.2 * y - x, upper)
    c.paint(heel, c.second, dice.chance(0.6))
    along = (x + 0.35) * 1.9
    lace = np.maximum(np.abs(along * 3 - np.floor(along * 3) - 0.5) * 0.17 - 0.04,
                      np.maximum(np.abs(x + 0.12) - 0.24, upper + 0.02))  # fmt: skip
    c.paint(np.maximum(lace, y - line(x, (-0.4, toe + 0.08), (0.12, ankle + 0.18))), c.second)
    slant = x - 0.2 + 0.8 * y
    bars = np.abs(slant * 4 - np.floor(slant * 4) - 0.5) / 4 - 0.06
    stripes = np.maximum(np.maximum(bars, np.abs(slant) - dice.uniform(0.1, 0.3)), y - 0.3)
    c.paint(np.maximum(np.maximum(stripes, upper + 0.03), ankle + 0.25 - y), c.trim)
    sole = np.maximum(np.maximum(0.3 - y, y - 0.46), np.abs(x) - 0.92)
    c.paint(sole, c.tone(dice.uniform(0.3, 1.0)))
    c.fold()


def _bag(c: Canvas) -> None:
    dice, x, y = c.dice, c.mirrored, c.y
    top, low = dice.uniform(-0.35, -0.1), dice.uniform(0.66, 0.8)
    wide, narrow = dice.uniform(0.72, 0.88), dice.uniform(0.6, 0.85)
    rise = dice.uniform(0.35, 0.6)
    loop = ellipse(c.x, y, (0, top), (dice.uniform(0.3, 0.5), rise))
    c.paint(np.maximum(np.abs(loop) - dice.uniform(0.04, 0.07), y - top - 0.1), c.trim)
    width = line(y, (top, narrow), (low, wide))
    corner = 0.5 * np.maximum(x - width + 0.1, 0)
    body = np.maximum(np.maximum(x - width, top + corner - y), y + corner - low)
    c.paint(body, c.cloth(0.7))
    fall = dice.uniform(0.3, 0.6) * (low - top)
    flap = np.maximum(body, y - top - fall * (1 - 0.5 * x))
    has_flap = dice.chance(0.6)
    c.paint(flap, c.main, 0.9 * has_flap)
    c.seam(np.maximum(np.abs(y - top - fall * (1 - 0.5 * x)), body), 0.6 * has_flap)
    c.seam(body + 0.07, 0.3)
    c.paint(box(c.x, y, (0, top + fall), (0.08, 0.06)), c.second)
    c.fold()


def _ankle_boot(c: Canvas) -> None:
    dice, x, y = c.dice, c.x, c.y
    shaft, toe = dice.uniform(-0.88, -0.6), dice.uniform(0.18, 0.28)
    front = dice.uniform(-0.05, 0.1)
    low = 0.58
    upper = _shoe(
        c, (-0.92, toe + 0.25), (-0.8, toe), (-0.45, toe - 0.12), (front - 0.12, -0.2),
        (front, shaft), (0.9, shaft), low=low,
    )  # fmt: skip
    upper = np.maximum(upper, x - line(y, (shaft, 0.7), (0.1, 0.66), (0.4, 0.8)))
    c.paint(upper, c.cloth(0.35))
    zip_at = dice.uniform(0.3, 0.45)
    panel = np.maximum(np.abs(x - zip_at + 0.1 * y) - dice.uniform(0.03, 0.14), y - 0.15)
    c.paint(np.maximum(panel, upper), c.trim, dice.chance(0.6))
    c.paint(np.maximum(upper, y - shaft - dice.uniform(0.06, 0.14)), c.second, dice.chance(0.5))
    c.seam(np.maximum(np.abs(x + 0.4 + 0.4 * y), upper + 0.02), 0.5 * dice.chance(0.6))
    sole = np.maximum(np.maximum(0.5 - y, y - 0.6), np.maximum(x - 0.8, -0.92 - x))
    heel = np.maximum(np.maximum(0.5 - y, y - dice.uniform(0.68, 0.86)), np.abs(x - 0.58) - 0.22)
    c.paint(np.minimum(sole, heel), [0.6 * tone for tone in c.trim])
    c.fold()


CLASS_NAMES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
DRAW: tuple[Callable[[Canvas], None], ...] = (
    _t_shirt, _trouser, _pullover, _dress, _coat,
    _sandal, _shirt, _sneaker, _bag, _ankle_boot,
)  # fmt: skip
