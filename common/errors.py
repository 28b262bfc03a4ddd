"""Errors of user input (exit code 2) and of runs (exit code 1), shown as one line."""

import difflib
from collections.abc import Iterable

import click


class _OneLine(click.ClickException):
    """An error that Click shows as one line, also where it quotes a file with line breaks."""

    def __init__(self, text: object = "") -> None:
        super().__init__(" ".join(str(text).splitlines()))


class InputError(_OneLine, ValueError):
    """Wrong input: one line that says what was wrong, what is allowed, and an example."""

    exit_code = 2


class RunError(_OneLine, RuntimeError):
    """A run that started and failed: one line with the reason."""

    exit_code = 1


def one_of(value: object, allowed: Iterable[str]) -> str:
    """``must be one of relu, gelu. Did you mean 'gelu'?`` for a ``value`` that is none of them."""
    allowed = list(allowed)
    return f"must be one of {', '.join(allowed)}.{nearest(str(value), allowed)}"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """``" Did you mean 'gelu'?"`` for the allowed name closest to ``name``, or an empty string."""
    by_lower = {a.lower(): a for a in allowed}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""
