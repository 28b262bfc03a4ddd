"""Damage to a file's bytes: flipped bits, a lost end, a zeroed block, the whole file lost."""

from __future__ import annotations

import random
from collections.abc import Callable


def flipped(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 8))):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut_off(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def zeroed(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    length = min(chance.choice((1, 16, 512, 4096)), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def removed(data: bytes, chance: random.Random) -> None:
    return None


DAMAGES: tuple[Callable[[bytes, random.Random], bytes | None], ...] = (
    flipped, cut_off, zeroed, removed,
)  # fmt: skip


def damaged(data: bytes, chance: random.Random) -> tuple[str, bytes | None]:
    """The kind of damage, and ``data`` after it; None where the file is gone."""
    damage = chance.choice(DAMAGES)
    return damage.__name__, damage(data, chance)
