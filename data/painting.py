"""Brushes for drawn images: hashed chance, signed distances, cloth, layers; in batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

Array = np.ndarray  # float32; [n 1 1] a value an image, [n h w] a value a pixel


class Dice:
    """Chance without state between images: the k-th draw of image i is a hash of (stream, i, k)."""

    def __init__(self, stream: int, index: np.ndarray):
        # SplitMix64 (Steele, Lea, Flood 2014); unsigned arithmetic wraps as it should.
        self._key = _mix(index.astype(np.uint64) + _mix(np.array([stream]).astype(np.uint64)))
        self._draw = 0

    def uniform(self, low: float, high: float) -> Array:
        """Even in [low, high): ``[n 1 1]``."""
        self._draw += 1
        bits = _mix(self._key + np.uint64(self._draw)) >> np.uint64(11)
        unit = bits.astype(np.float64) * 2.0**-53
        return (low + (high - low) * unit).astype(np.float32)[:, None, None]

    def chance(self, probability: float) -> Array:
        """1 with ``probability``, else 0."""
        return (self.uniform(0, 1) < probability).astype(np.float32)

    def sign(self) -> Array:
        return 2 * self.chance(0.5) - 1

    def pick(self, table: np.ndarray) -> Array:
        """A row of ``table`` ``[rows columns]`` an image: ``[columns n 1 1]``."""
        row = self.uniform(0, len(table)).ravel().astype(np.int64)
        return table.astype(np.float32)[row].T[:, :, None, None]


def _mix(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def line(t: Array, *knots: tuple) -> Array:
    """The broken line through ``knots`` (t, value), level beyond its ends."""
    value = knots[0][1]
    for (t0, v0), (t1, v1) in pairwise(knots):
        value = value + (v1 - v0) / (t1 - t0) * np.clip(t - t0, 0, t1 - t0)
    return value


def wave(t: Array) -> Array:
    """Period 1, between -1 (at whole numbers) and 1, rounded like a sine by a parabola."""
    saw = t - np.floor(t)
    bow = saw - 0.5
    bow = 1 - np.abs(bow) * 4
    return bow * (2 - np.abs(bow))


def limb(x: Array, y: Array, start: tuple, end: tuple, radii: tuple) -> Array:
    """Signed distance to a tapering bar from ``start`` to ``end`` with round ends."""
    (ax, ay), (bx, by) = start, end
    dx, dy = bx - ax, by - ay
    along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
    px, py = x - ax - along * dx, y - ay - along * dy
    return np.sqrt(px * px + py * py) - (radii[0] + (radii[1] - radii[0]) * along)


def ellipse(x: Array, y: Array, centre: tuple, radii: tuple) -> Array:
    px, py = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1]
    return (np.sqrt(px * px + py * py) - 1) * np.minimum(radii[0], radii[1])


def box(x: Array, y: Array, centre: tuple, half: tuple) -> Array:
    return np.maximum(np.abs(x - centre[0]) - half[0], np.abs(y - centre[1]) - half[1])


# Two waves, each along a*|x| + b*x + c*y, and how much is of the first, of the smaller of both.
_WEAVES = np.array([
    # a1  b1  c1  a2  b2  c2  first  smaller
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1, 0],  # stripes across
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1, 0],
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1, 0],  # stripes down, mirrored
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1, 0],  # stripes down
    [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.5, 0],  # checks, mirrored
    [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.5, 0],  # checks
    [0.0, 0.7, 0.7, 0.0, 0.0, 0.0, 1, 0],  # diagonals
    [0.8, 0.0, 0.7, 0.0, 0.0, 0.0, 1, 0],  # chevrons, mirrored
    [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0, 1],  # dots, mirrored
])  # fmt: skip


class Canvas:
    """A batch of images being painted, layer over layer, on black.

    ``x`` and ``y`` run from -1 to 1 over the shorter side of the image, the longer one further.
    """

    def __init__(self, dice: Dice, size: tuple[int, int], channels: int):
        height, width = size
        self.dice = dice
        self.pixel = np.float32(2 / min(size))
        scale = dice.uniform(0.9, 1.02)
        rows = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) * self.pixel
        columns = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) * self.pixel
        self.x = (columns[None, None, :] / scale - dice.uniform(-0.04, 0.04)).astype(np.float32)
        self.y = (rows[None, :, None] / scale - dice.uniform(-0.04, 0.04)).astype(np.float32)
        self.mirrored = np.abs(self.x)
        self._values = np.zeros((channels, len(scale), height, width), dtype=np.float32)
        self._colours = channels == 3
        light = dice.uniform(0.3, 1.0)
        step = dice.uniform(0.25, 0.5)
        self.main = self.tone(light)
        self.second = self.tone(np.where(light > 0.6, light - step, light + step))
        self.trim = [tone * dice.uniform(0.5, 0.8) for tone in self.main]

    def tone(self, light: Array) -> list[Array]:
        """A colour of about this lightness, a value a channel."""
        if not self._colours:
            return [light]
        hue, pure = self.dice.uniform(0, 6), self.dice.uniform(0, 1)
        pure = 0.8 * pure
        wheel = [np.clip(np.abs((hue + turn) % 6 - 3) - 1, 0, 1) for turn in (0, 4, 2)]
        return [light * (1 - pure + pure * (0.2 + 0.9 * w)) for w in wheel]

    def paint(self, distance: Array, tone: list[Array], strength: Array | float = 1.0) -> None:
        """Cover where ``distance`` < 0 with ``tone``, the edge one pixel soft."""
        cover = np.clip(0.5 - distance / self.pixel, 0, 1) * strength
        for values, wanted in zip(self._values, tone, strict=True):
            values += cover * (wanted - values)

    def darken(self, distance: Array, by: Array | float) -> None:
        """Shade where ``distance`` < 0."""
        keep = 1 - np.clip(0.5 - distance / self.pixel, 0, 1) * by
        for values in self._values:
            values *= keep

    def seam(self, distance: Array, by: Array | float = 0.4) -> None:
        """A dark thread where ``distance`` is 0."""
        self.darken(np.abs(distance) - 0.02, by)

    def cloth(self, woven: float = 0.75) -> list[Array]:
        """Main and second tone in a pattern; plain or graded with chance 1 - ``woven``."""
        dice, x, y = self.dice, self.x, self.y
        a1, b1, c1, a2, b2, c2, first, smaller = dice.pick(_WEAVES)
        count, sharp = dice.uniform(1.2, 3.4), dice.uniform(1.0, 5.0)
        one = wave(count * (a1 * self.mirrored + b1 * x + c1 * y) + dice.uniform(0, 1))
        two = wave(count * (a2 * self.mirrored + b2 * x + c2 * y) + dice.uniform(0, 1))
        pattern = first * np.clip(one * sharp, -1, 1)
        pattern += (1 - first) * (1 - smaller) * np.clip(two * sharp, -1, 1)
        pattern += smaller * np.clip(np.minimum(one, two) * sharp, -1, 1)
        graded = np.clip(y * dice.sign() * dice.uniform(0.5, 1.2), -1, 1) * dice.chance(0.6)
        is_woven = dice.chance(woven)
        mix = 0.5 + 0.5 * (is_woven * pattern + (1 - is_woven) * graded)
        mix = mix * np.where(is_woven > 0, 1, dice.uniform(0.2, 0.9))
        return [m + (s - m) * mix for m, s in zip(self.main, self.second, strict=True)]

    def fold(self) -> None:
        """Round the whole garment off: darker to the sides, light from one of them, soft folds."""
        dice = self.dice
        bend = dice.uniform(1.0, 2.0) * self.x + dice.uniform(-0.5, 0.5) * self.y
        shade = 1 - dice.uniform(0.1, 0.3) * self.x * self.x + dice.uniform(-0.08, 0.08) * self.x
        shade = shade + dice.uniform(0.0, 0.07) * wave(bend + dice.uniform(0, 1))
        self._values *= shade

    def pixels(self) -> np.ndarray:
        """uint8 ``[n c h w]``."""
        return (np.clip(self._values, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 0, 2, 3)
