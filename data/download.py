"""Atomic, time-limited downloads into the user's cache directory."""

import http.client
import os
import shutil
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.images import NotFoundError

PROBE_SECONDS = 8.0
STALL_SECONDS = 20.0


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/convtune``, else ``~/.cache/convtune``."""
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        try:
            base = Path.home() / ".cache"
        except RuntimeError:  # no HOME, and a user id without an entry in the password file
            base = Path(tempfile.gettempdir(), f"cache-{os.getuid()}")
    return Path(base) / "convtune"


def download(folder: Path, files: Mapping[str, str]) -> None:
    """Download ``files`` (URL to checksum, as ``"md5:..."``) and move them into place together.

    Archives (``.tar.gz``) are unpacked and removed. The first server is probed first, so that a
    machine without network loses seconds at most. Several processes may download at the same
    time; the first result stays. Raises ``OSError`` when a server does not answer or stalls, or
    the folder cannot be written; ``ValueError`` when a checksum is wrong.
    """
    import pooch  # slow to import, and needed only here

    _probe(next(iter(files)))
    pooch.get_logger().setLevel("WARNING")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    fetch: Any = pooch.HTTPDownloader(timeout=STALL_SECONDS, progressbar=sys.stderr.isatty())
    try:
        for url, checksum in files.items():
            name = url.rsplit("/", 1)[-1]
            pooch.retrieve(url, checksum, fname=name, path=part, downloader=fetch)
            if name.endswith(".tar.gz"):
                shutil.unpack_archive(part / name, part, filter="data")
                (part / name).unlink()
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            for file in part.iterdir():  # another process's result stays, and the user's files
                if not (folder / file.name).exists():
                    file.rename(folder / file.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def find_or_download(
    title: str,
    folders: Sequence[Path],
    files: Sequence[str],
    urls: Mapping[str, str],
    *,
    into: Path,
    may_download: bool,
    hint: str,
    advice: str,
) -> Path:
    """The first of ``folders`` that holds one of ``files``, else the last one after a download.

    Raises ``NotFoundError`` with ``hint`` if no download is allowed, with ``advice`` if it fails.
    """
    for folder in folders:
        if any(os.path.isfile(folder / name) for name in files):
            return folder
    missing = f"{title} is not in {', '.join(map(str, folders))}"
    if not may_download:
        raise NotFoundError(f"{missing} ({hint}).")
    try:
        download(into, urls)
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NotFoundError(
            f"{missing}, and the download failed ({reason}). {advice}, or use the built-in "
            "--data garments."
        ) from error
    return folders[-1]


def _probe(url: str) -> None:
    """Raise ``OSError`` unless the server answers within ``PROBE_SECONDS``.

    In a thread, because name resolution has no time limit.
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
