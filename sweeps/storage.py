"""Where a study is kept: a journal file, which may lie on a shared disk, or a database."""

import fcntl
import json
import os
import time
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.storages.journal._file import BaseJournalFileLock

from common.errors import InputError, RunError
from common.files import fsync, make_folder
from common.log import log

RETRY_SECONDS = 60  # for a database server that is being restarted
JOURNAL_START = b'{"op_code"'  # less of it where a kill or a full disk cut the first line off

DRIVER_HINT = (
    "its driver is not installed; pip install psycopg2-binary for postgresql+psycopg2://…, or "
    "pymysql for mysql+pymysql://…"
)
optuna.logging.set_verbosity(optuna.logging.WARNING)


@contextmanager
def named_errors(where: str) -> Iterator[None]:
    """``with``: an ``OSError`` such as a full disk becomes a ``RunError`` that names the study."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the study {_without_password(where)} cannot be kept: {error.strerror or error}"
        ) from None


def open_storage(where: str, *, read_only: bool = False) -> Any:
    """The storage at ``where``, a journal's path or a database URL; a journal is made if needed.

    ``read_only`` neither makes nor locks a journal. Raises ``InputError`` for SQLite, an unknown
    database, and a file that is no journal.
    """
    try:
        return _open_database(where) if "://" in where else _open_journal(Path(where), read_only)
    except InputError as error:
        raise InputError(f"{'' if read_only else '--study '}{error}") from None


def _open_journal(path: Path, read_only: bool) -> Any:
    where, path = str(path), path.resolve()
    try:
        if not read_only:
            make_folder(path.parent)
        lock = FileLock(path)
        backend = CheckedJournal(str(path), lock_obj=lock)
        with open(path, "rb") as file:
            if not JOURNAL_START.startswith(file.read(len(JOURNAL_START))):
                raise ValueError
        if not read_only:
            lock.acquire()
            lock.release()
            fsync(path.parent)  # what is recorded next must survive a power cut
        return JournalStorage(backend)
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}") from None
    except InputError:
        raise
    except Exception:  # Optuna's reader raises nearly anything for lines that it did not write
        raise InputError(f"{where}: not an Optuna journal; give another file") from None


def _open_database(url: str, attempts: int = 4) -> Any:
    if url.startswith("sqlite"):
        raise InputError(
            f"{url}: SQLite was seen to hand a point out twice; use a journal file "
            "(studies/my.journal) or a postgresql:// or mysql:// address"
        )
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    try:
        return RetryingStorage(optuna.storages.get_storage(url), _without_password(url))
    except Exception as error:  # drivers and servers each have their own errors
        if attempts > 1 and isinstance(error, IntegrityError | ProgrammingError):
            time.sleep(1)  # commands started together met while they made the tables
            return _open_database(url, attempts - 1)
        place = _without_password(url)
        problem = DRIVER_HINT if isinstance(error, ImportError) else error
        reason = str(problem).replace(url, place).partition("\n")[0]
        raise InputError(f"{place}: {reason}") from None


class RetryingStorage:
    """Passes calls on to a database storage, and waits while its server is away.

    Raises ``RunError`` after ``RETRY_SECONDS``. A call whose answer was lost is repeated: what it
    may do twice, a study takes for a duplicate.
    """

    def __init__(self, storage: optuna.storages.BaseStorage, place: str) -> None:
        self._storage, self._place = storage, place

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._storage, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            deadline, noted = time.monotonic() + RETRY_SECONDS, False
            while True:
                try:
                    return attribute(*args, **kwargs)
                except Exception as error:
                    if not _is_outage(error):
                        raise
                    if time.monotonic() > deadline:
                        reason = str(error.__cause__ or error).strip().partition("\n")[0]
                        raise RunError(
                            f"the study at {self._place} has not answered for {RETRY_SECONDS} s "
                            f"({reason}); give the same command again to continue"
                        ) from None
                    if not noted:
                        noted = True
                        log.warning(f"The study at {self._place} does not answer; waiting for it.")
                    time.sleep(1)

        return call if callable(attribute) else attribute


def _is_outage(error: BaseException | None) -> bool:
    """Whether a database's error says that its server is away, not that the call was wrong."""
    from sqlalchemy import exc

    if isinstance(error, StorageInternalError):
        error = error.__cause__
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    # psycopg2 gives the bare class for an answer that was cut off; a transaction that was open then
    # can only be rolled back, which Optuna has done.
    away = (exc.OperationalError, exc.InterfaceError, exc.PendingRollbackError)
    return type(error) is exc.DatabaseError or isinstance(error, away)


def _without_password(url: str) -> str:
    scheme, colon, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if colon else url


def _cut_torn_line(path: Path) -> None:
    """Cut off a last line that is not whole, as a kill or a power cut leaves it.

    Optuna could not read past it. Nothing in it was reported as recorded.
    """
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        length, tail = 4096, b""
        while b"\n" not in tail[:-1] and len(tail) < size:  # to the end of the line before
            file.seek(max(0, size - length))
            tail = file.read()
            length *= 16
        line = tail[tail.rfind(b"\n", 0, -1) + 1 :]
        try:
            whole = isinstance(json.loads(line), dict) and line.endswith(b"\n")
        except ValueError:
            whole = False
        if line and not whole:
            file.truncate(size - len(line))


class CheckedJournal(JournalFileBackend):
    """A journal whose lines carry a checksum; those of earlier versions are read without one."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write a line for each of ``logs``, and wait for the disk."""
        super().append_logs([log | {"crc": _checksum(log)} for log in logs])

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any]]:
        """What stands from a line on. Raises ``InputError`` for a line that is damaged."""
        number = log_number_from
        try:
            for log in super().read_logs(log_number_from):
                if log.pop("crc", None) not in (None, _checksum(log)):
                    raise ValueError
                number += 1
                yield log
        except (ValueError, AttributeError):  # no JSON, not an object
            raise InputError(
                f"{self._file_path}: line {number + 1} is damaged; put back a copy of the file, or "
                "give another"
            ) from None


def _checksum(log: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(log).encode())


class FileLock(BaseJournalFileLock):
    """A lock on a journal that ends with its process. Optuna's own stay for 30 s after a SIGKILL.

    ``flock`` holds between processes, and on Linux between machines that share an NFS disk.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal

    def acquire(self) -> bool:
        """Wait for the lock and take it; what is written next begins a line of its own."""
        path = self._journal.with_name(self._journal.name + ".lock")
        self._file = open(path, "ab")  # noqa: SIM115 (held until release)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        _cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()
