"""``bench conv`` measures every variant and writes what it says. No time is asserted."""

from __future__ import annotations

import sys

from models.channel_selection import IMPLEMENTATIONS
from tests.conftest import read_csv


def test_bench_conv_writes_a_row_for_every_implementation(cli, tmp_path, monkeypatch):
    words = "bench conv --epochs 1 --runs 2 --images 4 --batch-size 2 --device cpu --mode disabled"
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", *words.split()])
    outcome = cli(*words.split(), "--out", tmp_path)
    assert outcome.code == 0, outcome.err
    rows = read_csv(tmp_path / "conv.csv")
    columns = {(r["memory"], r["precision"]) for r in rows}
    assert columns >= {("contiguous", "fp32"), ("channels_last", "fp32")}
    for column in columns:
        mine = [r for r in rows if (r["memory"], r["precision"]) == column]
        assert [r["implementation"] for r in mine] == ["-", *IMPLEMENTATIONS, "auto"]
        assert float(mine[0]["ratio_to_full"]) == 1
        assert all(len(r["seconds_of_runs"].split()) == 2 for r in mine)
        memory = {r["implementation"]: float(r["peak_memory_mib"]) for r in mine}
        assert memory["merged"] < memory["pointwise"]  # no selected channels to keep
    text = (tmp_path / "conv.md").read_text()
    assert f"`python train.py {words}`" in text
