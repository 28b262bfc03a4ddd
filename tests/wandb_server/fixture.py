"""The `wandb_server` fixture. tests/conftest.py takes it in with

pytest_plugins = ["tests.wandb_server.fixture"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .server import WandbServer


@pytest.fixture
def wandb_server() -> Iterator[WandbServer]:
    """A fresh W&B server for one test; give `wandb_server.env(tmp_path)` to the subprocesses."""
    with WandbServer() as server:
        yield server
