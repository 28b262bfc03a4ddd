"""Records: what a track allows, what counts as held, and the command with a tiny budget."""

from __future__ import annotations

import csv
import math

import pytest

from benchmarks import record
from benchmarks.record import RECORDS, TRACKS, main, newest, settings_of, verdict
from common.errors import InputError
from experiment.settings import Settings
from tests.conftest import ROOT

TINY = """
command: ["${env}", "${interpreter}", "${program}", unet, "${args}"]
program: train.py
method: grid
metric: {name: val/l1_composite, goal: minimize}
parameters:
  data: {value: garments}
  train_images: {value: 64}
  val_images: {value: 20}
  images: {value: 32}
  batch_size: {value: 16}
  size: {value: 12}
  width: {value: 8}
  precision: {value: fp32}
"""


def rows(values: list[float], seconds: float, parameters: int = 1000) -> list[dict]:
    shared = {"seconds": seconds, "reference_seconds": 600, "parameters": parameters}
    return [{"value": value} | shared for value in values]


@pytest.mark.parametrize("folder", sorted(RECORDS.iterdir()), ids=lambda path: path.name)
def test_every_record_is_one_setting_that_its_track_allows_and_the_leaderboard_names(folder):
    if folder.is_dir():
        runs = settings_of(folder)
        assert [settings.training.seed for settings in runs] == [0, 1, 2, 3, 4]
        assert len({settings.replace(seed=0) for settings in runs}) == 1
        for settings in runs:
            TRACKS[folder.name[0]].check(settings)
    else:
        text = (ROOT / "records" / "README.md").read_text(encoding="utf-8")
        assert all(newest(track).name in text for track in TRACKS)


@pytest.mark.parametrize(
    ("track", "command", "options"),
    [
        ("A", "resconv", {"layers": 5}),
        ("A", "resconv", {"composite": True}),
        ("A", "unet", {}),
        ("B", "unet", {"train_images": 100}),
        ("B", "unet", {"corruption": "noise:25"}),
        ("C", "unet", {"data": "garments"}),
    ],
)
def test_a_track_refuses_other_tasks(track, command, options):
    settings = Settings.parse(command, {"data": "fashion-mnist"} | options)
    with pytest.raises(InputError, match="use --trial"):
        TRACKS[track].check(settings)


def test_a_record_holds_by_its_inequality_time_and_parameters():
    def refuted(*arguments) -> list[int]:
        return [n for n, line in enumerate(verdict(*arguments)) if line.startswith("NOT ")]

    b, d = TRACKS["B"], TRACKS["D"]
    enough = b.target - b.margin / math.sqrt(5)
    good = rows([enough - 1e-6] * 4 + [enough], 10)
    assert refuted(b, good, []) == []
    assert refuted(b, rows([enough + 1e-6] * 5, 10), []) == [0]
    assert refuted(b, good, rows([0.1] * 5, 9.1)) == []
    assert refuted(b, good, rows([0.1] * 5, 8.9)) == [2], "slower than the time on record"
    assert "0.04313, standard deviation 0.00000, 5 seeds" in verdict(b, good, [])[0]
    assert "time 1/60.0 of the reference" in verdict(b, good, [])[1]
    low = [d.target - 0.001] * 5
    assert refuted(d, rows(low, 199), []) == []
    assert refuted(d, rows(low, 201, 907_684), []) == [1, 2]


@pytest.mark.slow
def test_the_record_command_trains_its_seeds_and_writes_the_result(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(record, "SEEDS", 2)
    monkeypatch.setattr(record, "PREFETCHED", 1)
    (tmp_path / "sweep.yaml").write_text(TINY)
    arguments = ["B", "--record", tmp_path, "--out", tmp_path, "--device", "cpu", "--turn", 1]
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("Error: least time")
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--trial"])
    assert end.value.code == 1
    with open(tmp_path / "record.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["seed"] for row in found] == ["0", "1"]
    assert found[0]["value"] != found[1]["value"]
    assert all(float(row["seconds"]) < float(row["reference_seconds"]) for row in found)
    assert {row["images"] for row in found} == {"32"}
    page = (tmp_path / "record.md").read_text()
    assert "a trial, no claim" in page
    assert "NOT val/l1_composite" in page
