"""A study in a real PostgreSQL server: shared by three commands, killed and started again."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import RunError
from sweeps import storage
from sweeps.study import Study
from tests.small_sweeps import (
    alive,
    assert_each_point_once,
    children,
    shared_study,
    sweep_of,
    wait_until,
    write,
)

pytestmark = pytest.mark.slow
ACCOUNT = "postgres"  # the server refuses to run as root


def programs() -> Path | None:
    """The folder with PostgreSQL's programs; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


class Postgres:
    """A server on a socket in a temporary folder."""

    def __init__(self, folder: Path, bin: Path) -> None:
        self.folder, self.bin = folder, bin
        self.data = folder / "data"
        self.url = f"postgresql+psycopg2://{ACCOUNT}@/postgres?host={folder}"
        self.call("initdb", "--auth=trust", f"--username={ACCOUNT}", f"--pgdata={self.data}")

    def call(self, program: str, *arguments: str) -> None:
        user = ["runuser", "-u", ACCOUNT, "--"] if os.getuid() == 0 else []
        subprocess.run(
            [*user, str(self.bin / program), *arguments], cwd=self.folder, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self) -> None:
        options = f"-c listen_addresses='' -k {self.folder}"
        self.call("pg_ctl", "-D", str(self.data), "-w", "-o", options, "-l",
                  str(self.folder / "log"), "start")  # fmt: skip

    def kill(self) -> None:
        """SIGKILL the server; its processes for single connections then end by themselves."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        own = children(pid)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(alive, own)), 30)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    bin = programs()
    if bin is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("its driver is not installed: pip install -r requirements-postgresql.txt")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # short enough for a socket's path
    try:
        if os.getuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
        server = Postgres(folder, bin)
        server.start()
        yield server
        server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_three_commands_train_each_point_once_over_a_killed_and_restarted_server(
    postgres, tmp_path
):
    folders = [tmp_path / name for name in ("one", "two", "three")]
    commands = shared_study(folders, postgres.url)
    while not any(list(folder.glob("runs/*/summary.json")) for folder in folders):
        assert all(command.process.poll() is None for command in commands)
        time.sleep(0.05)
    postgres.kill()
    time.sleep(3)
    postgres.start()
    assert_each_point_once(commands, folders, postgres.url)


def test_an_unreachable_database_ends_in_one_line_after_a_minute(postgres, monkeypatch):
    study = Study(postgres.url, sweep_of())
    study.enqueue_missing()
    assert study.waiting() == 6 and storage.RETRY_SECONDS == 60
    monkeypatch.setattr(storage, "RETRY_SECONDS", 2)
    postgres.kill()
    start = time.monotonic()
    with pytest.raises(RunError, match="has not answered for 2 s") as error:
        study.statuses()
    assert 2 <= time.monotonic() - start < 20 and "\n" not in str(error.value)
    postgres.start()
    assert Study(postgres.url, sweep_of()).waiting() == 6


def test_the_commands_name_no_password(postgres, cli):
    write()
    url = postgres.url.replace("postgres@", "postgres:secret@").replace("host=", "host=/nowhere")
    outcome = cli("sweep", "mini.yaml", "--study", url)
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert "secret" not in outcome.err and "postgresql+psycopg2://" in outcome.err
