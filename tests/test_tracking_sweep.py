"""Sweeps on a server: only the server's own answer says that there is none."""

from __future__ import annotations

import time

import pytest

from common.errors import InputError
from tracking.api import NotFound, ServerUnavailable, create_sweep, find_sweep, runs_of
from tracking.server import is_current_server

GRID = {"method": "grid", "name": "two", "parameters": {"ks": {"values": [3, 5]}}}


def test_a_sweep_counts_as_missing_only_if_the_server_says_so(server):
    path = create_sweep(GRID, "nets", None)
    assert path.startswith("tester/nets/") and runs_of(path) == []
    assert find_sweep(path).config["parameters"] == GRID["parameters"]
    for nothing in ("tester/nets/nothing", "tester/other/nothing"):
        with pytest.raises(NotFound):
            find_sweep(nothing)
    for fault in ({"status": 403}, {"status": 503, "count": 1}):
        with server.fault(**fault, path="graphql"):
            start = time.monotonic()
            try:
                found = find_sweep(path)
            except ServerUnavailable:
                assert fault["status"] == 403
            else:
                assert found.url.endswith(path.rpartition("/")[2]), (
                    "asked again after a short failure"
                )
            assert time.monotonic() - start < 30


def test_a_sweep_refused_by_the_server_is_reported_in_one_line(server):
    with pytest.raises(InputError, match="W&B did not take the sweep") as error:
        create_sweep(
            {"method": "grid", "parameters": {"lr": {"distribution": "normal"}}}, "n", None
        )
    assert "\n" not in str(error.value)


def test_an_address_noted_before_wandb_moved_is_the_same_server(monkeypatch):
    assert is_current_server("https://api.wandb.ai/") and not is_current_server(None)
    assert not is_current_server("http://wandb.example.org")
