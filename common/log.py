"""Messages to the user: one logger, shown where the command shows its output."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("convtune")


class _Handler(logging.Handler):
    """Passes each message to a function; by default one that prints to stderr."""

    def __init__(self, show: Callable[[str], object]) -> None:
        super().__init__()
        self.show = show

    def emit(self, record: logging.LogRecord) -> None:
        self.show(record.getMessage())


@contextmanager
def log_through(show: Callable[[str], object]) -> Iterator[None]:
    """``with``: messages go to ``show``, for example a console with a live display."""
    _handler.show, before = show, _handler.show
    try:
        yield
    finally:
        _handler.show = before


_handler = _Handler(lambda text: print(text, file=sys.stderr, flush=True))
log.setLevel(logging.INFO)
log.propagate = False
log.addHandler(_handler)
