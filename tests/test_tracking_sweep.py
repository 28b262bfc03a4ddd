"""Sweeps on a server: only the server's own answer says that there is none."""

from __future__ import annotations

import time

import pytest

from common.errors import InputError
from tracking.api import NotFound, ServerUnavailable
from tracking.server import is_current_server
from tracking.server_sweep import create_sweep, find_sweep

GRID = {"method": "grid", "name": "two", "parameters": {"ks": {"values": [3, 5]}}}


def test_a_sweep_is_made_found_and_missing_only_where_the_server_says_so(server):
    made = create_sweep(GRID, "nets", None)
    assert made.path.startswith("tester/nets/") and made.runs() == []
    assert find_sweep(made.path) == made and made.config["parameters"] == GRID["parameters"]
    for path in ("tester/nets/nothing", "tester/other/nothing"):
        with pytest.raises(NotFound):
            find_sweep(path)
    for fault in ({"status": 403}, {"status": 503, "count": 1}):
        with server.fault(**fault, path="graphql"):
            start = time.monotonic()
            try:
                found = find_sweep(made.path)
            except ServerUnavailable:
                assert fault["status"] == 403
            else:
                assert found == made, "asked again after a short failure"
            assert time.monotonic() - start < 30


def test_a_sweep_that_the_server_refuses_is_one_line(server):
    with pytest.raises(InputError, match="W&B did not take the sweep") as error:
        create_sweep(
            {"method": "grid", "parameters": {"lr": {"distribution": "normal"}}}, "n", None
        )
    assert "\n" not in str(error.value)


def test_an_address_noted_before_wandb_moved_is_the_same_server(monkeypatch):
    assert is_current_server("https://api.wandb.ai/") and not is_current_server(None)
    assert not is_current_server("http://wandb.example.org")
