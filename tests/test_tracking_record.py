"""Runs as recorded: folders of 73bab81, W&B's summary, and what their readers are given."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from common.errors import InputError
from tests.conftest import ROOT
from tracking.api import summary_form
from tracking.record import command_of, demo_picture, read_run_folder, read_run_folders

LEGACY = ROOT / "tests" / "legacy" / "runs"


def test_a_run_folder_of_73bab81_is_read_completely():
    run = read_run_folder(LEGACY / "legacy-resconv-k8u5scx7")
    assert (run.id, run.name, run.command, run.state, run.reason, run.url) == (
        "k8u5scx7", "legacy-resconv", "resconv", "finished", None, None,
    )  # fmt: skip
    assert (run.summary["parameters"], run.summary["receptive_field"]) == (375, 9)
    assert run.config["lr"] == 3e-4
    assert run.dataset["name"] == "garments"
    assert run.best["images_seen"] == 160 and run.last["val/l1"] == run.best["val/l1"]
    assert run.curve("val/l1") == [
        (64, 0.43974740164620535), (128, 0.4327046919842156), (160, 0.4298263861208546),
    ]  # fmt: skip
    assert run.curve("no/such") == []
    first, second = run.examples()[:2]
    assert (first.index, first.class_name, first.damage) == (1, "trouser", "left erased")
    assert (second.index, second.l1) == (3, 0.4020789861679077)
    assert sorted(first.png) == ["error", "input", "output", "target"]
    assert all(png.startswith(b"\x89PNG") for png in first.png.values())


def test_unfinished_runs_and_classifiers_of_73bab81_have_what_they_recorded():
    cut = read_run_folder(LEGACY / "cut-resconv-lezkunrt")
    assert (cut.state, cut.examples(), len(cut.curve("val/l1"))) == ("running", [], 1)
    classifier = read_run_folder(LEGACY / "legacy-classify-gblh2r0b")
    assert (classifier.command, classifier.examples()) == ("classify", [])
    point = read_run_folder(LEGACY / "mini-ks3-layers1-okk33ls4")
    assert (point.sweep, Path(point.sweep_file or "").name) == ("mini", "mini.yaml")


def test_a_damaged_folder_is_reported_and_the_others_are_read(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").write_text("lr: [1, 2\n")
    (tmp_path / "a" / "summary.json").write_text("{}")
    found = read_run_folders([tmp_path / "a", LEGACY / "legacy-resconv-k8u5scx7"])
    assert [run.id for run in found] == ["k8u5scx7"]
    assert capsys.readouterr().err.startswith(f"Left out: {tmp_path / 'a' / 'config.yaml'}: ")
    with pytest.raises(InputError, match="cannot be read"):
        read_run_folders([tmp_path / "a"])


def test_the_command_of_old_and_new_configs():
    assert command_of({"task": "resconv"}) == "resconv"
    assert command_of({"task": "restoration", "command": "unet"}) == "unet"


def test_a_demo_picture_of_a_corruption_without_sides():
    picture = demo_picture({"index": "7", "class": "bag", "damage": "noise", "l1": "0.5"}, {})
    unknown = demo_picture({"index": "7", "damage": "noise", "l1": ""}, {})
    assert (picture.damage, picture.l1) == ("noise", 0.5) and math.isnan(unknown.l1)


def test_wandbs_summary_is_read_as_a_run_folders_summary():
    metrics = {
        "val/l1": {"min": 0.1, "last": 0.2}, "val/psnr": {"max": 30.0, "last": 29.0},
        "train/lr": 0.001, "val/blank": {"last": None}, "demo/0": {"_type": "image-file"},
        "images_seen": 64, "seconds": 1.5,
    }  # fmt: skip
    found = summary_form(metrics, {"network": {"parameters": 3}})
    assert found["last"] == {"val/l1": 0.2, "val/psnr": 29.0, "train/lr": 0.001}
    assert found["best"] == {"val/l1": 0.1, "val/psnr": 30.0}
    assert (found["parameters"], found["images_total"], found["seconds"]) == (3, 64, 1.5)
