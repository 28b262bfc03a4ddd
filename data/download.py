"""Downloads: into a cache folder outside the project, whole or not at all, never hanging."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

PROBE_SECONDS = 8.0
STALL_SECONDS = 20.0


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/convtune``, else ``~/.cache/convtune``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "convtune"


def download(folder: Path, url: str, fetch: Callable[[Path], object]) -> None:
    """Let ``fetch(temporary folder)`` download, then put its result in place as ``folder``.

    ``url`` is asked for its headers first, so that a machine without network loses seconds at
    most. Several processes may do this at once: each works apart, the first one's result stays.
    Raises ``OSError`` when the server does not answer, stalls, or the folder cannot be written;
    ``RuntimeError`` (torchvision) when what came has the wrong checksum.
    """
    _probe(url)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        fetch(part)
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {error}") from error
    finally:
        socket.setdefaulttimeout(before)
        shutil.rmtree(part, ignore_errors=True)


def _probe(url: str) -> None:
    """Raise ``OSError`` unless the server answers within ``PROBE_SECONDS``.

    In a thread of its own, because name resolution heeds no time limit.
    """
    outcome: list[object] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=5):
                outcome.append(None)
        except (OSError, http.client.HTTPException) as error:
            outcome.append(getattr(error, "reason", error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    error = outcome[0] if outcome else TimeoutError(f"no answer within {PROBE_SECONDS:.0f} s")
    if error:
        raise OSError(f"{urllib.parse.urlparse(url).netloc}: {error}")
