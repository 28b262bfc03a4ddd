"""optuna-dashboard opens a sweep's journal as it stands (docs/sweeps.md)."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.small_sweeps import JOURNAL, RESULT, next_claim, open_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("optuna_dashboard") is None,
        reason="optuna-dashboard is not installed: pip install optuna-dashboard",
    ),
]


def read(address: str) -> dict:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.loads(answer.read())
        except OSError:
            assert time.monotonic() < deadline, "the dashboard does not answer"
            time.sleep(0.2)


def test_the_dashboard_shows_a_journal_without_changing_it():
    _, claims = open_study()
    for value in (0.5, 0.25):
        claims.done(next_claim(claims), value, RESULT)
    before = Path(JOURNAL).read_bytes()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = "from optuna_dashboard._cli import main; main()"
    dashboard = subprocess.Popen(
        [sys.executable, "-c", command, JOURNAL, "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"NO_PROXY": "*"},
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}/api/studies"
        [shown] = read(address)["study_summaries"]
        assert shown["study_name"] == "mini"
        details = read(f"{address}/{shown['study_id']}?after=0")
        values = [trial["values"] for trial in details["trials"] if trial["state"] == "Complete"]
        assert sorted(values) == [[0.25], [0.5]] and len(details["trials"]) == 6
    finally:
        dashboard.kill()
        dashboard.wait()
    assert Path(JOURNAL).read_bytes() == before
    assert claims.next() is not None, "a worker goes on as before"
