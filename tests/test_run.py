"""A whole run through the command line: what it leaves, read back with W&B's own tools."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from data import fashion_mnist
from experiment import checkpoints
from experiment.run import run
from experiment.settings import Settings
from tasks.corruptions import SIDES
from tests.conftest import TINY, TINY_OPTIONS, read_csv, run_folder, summary_of


def inspect(folder: Path, *flags: str) -> list[dict]:
    """What W&B's own reader finds in an offline run."""
    [run] = folder.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", str(run), *flags]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "--summary" in flags:
        return [json.loads(text)]
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_the_run_folder_and_wandb_hold_the_same_data(cli):
    outcome = cli("resconv", *TINY, "--epochs", 2, "--images", 512, "--tags", "t")
    assert (outcome.code, outcome.err) == (0, "")
    folder = run_folder(outcome)
    assert "W&B is offline: no W&B API key found" in outcome.out
    assert f"python train.py sync {folder}" in outcome.out

    rows = read_csv(folder / "metrics.csv")
    assert [int(row["step"]) for row in rows] == [3, 6, 8, 9, 12, 15, 16]
    assert [row["step"] for row in rows if row["val/l1"]] == ["8", "16"]
    summary = summary_of(folder)
    assert (summary["state"], summary["images_seen"]) == ("finished", 512)
    assert summary["last"]["val/l1"] == float(rows[-1]["val/l1"])
    assert summary["best"]["val/l1"] == min(float(r["val/l1"]) for r in rows if r["val/l1"])

    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["network"] == {
        "parameters": summary["parameters"], "receptive_field": 9,
        "multiply_adds": summary["multiply_adds"], "kernels": [3, 3], "channels": [4, 4],
    }  # fmt: skip
    assert config["dataset"]["name"] == "garments"
    assert len(config["dataset"]["checksum"]) == 64

    check_tables(folder, summary)
    check_wandb(folder, config, rows)


def check_tables(folder: Path, summary: dict) -> None:
    demo = read_csv(folder / "tables" / "reconstructions.csv")
    assert len(demo) == 20
    assert {row["damage"] for row in demo} == {f"{side} erased" for side in SIDES}
    assert len({row["class"] for row in demo}) == 10
    for row in demo:
        for kind in ("input", "output", "target", "error"):
            assert Image.open(folder / row[kind]).size == (12, 12)
    params = read_csv(folder / "tables" / "params.csv")
    assert sum(int(row["parameters"]) for row in params) == summary["parameters"]
    assert [r["receptive_field"] for r in params if r["kind"] == "Conv2d"] == ["3", "5", "7", "9"]
    [results] = read_csv(folder / "tables" / "results.csv")
    assert float(results["val/l1"]) == summary["last"]["val/l1"]
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {
        "last.pt", "previous.pt", "best.pt",
    }  # fmt: skip
    assert {p.name for p in (folder / "pictures").glob("*.png")} == {
        "images-000000256.png", "final.png",
    }  # fmt: skip


def check_wandb(folder: Path, config: dict, rows: list[dict[str, str]]) -> None:
    [found] = inspect(folder, "--summary", "--json")
    for key in ("layers", "ks", "batch_size", "dataset", "network", "identity", "environment"):
        assert found["config"][key] == config[key]
    assert found["summary"]["val/l1"].keys() == {"min", "last"}
    assert found["summary"]["val/psnr"].keys() == {"max", "last"}
    for table in ("reconstructions", "params", "results"):
        assert found["summary"][table]["_type"] == "table-file"
    assert found["summary"]["reconstructions"]["nrows"] == 20
    assert found["summary"]["demo"]["count"] == 20

    history = [r["history"] for r in inspect(folder, "--json") if r["type"] == "history"]
    logged = {row["images_seen"]: row["val/l1"] for row in map(plain, history) if "val/l1" in row}
    assert logged == {int(r["images_seen"]): float(r["val/l1"]) for r in rows if r["val/l1"]}


def plain(history: dict) -> dict:
    """One history row as a plain mapping, whatever form the reader prints."""
    items = history.get("item", history)
    if isinstance(items, dict):
        return items
    return {
        item.get("key") or "/".join(item["nestedKey"]): json.loads(item["valueJson"])
        for item in items
    }


def test_an_option_without_effect_is_reported_and_not_in_the_name(cli):
    outcome = cli("resconv", *TINY, "--muon-lr", 0.1, "--mode", "disabled")
    assert "--muon-lr has no effect without --optimizer muon\n" in outcome.out + outcome.err
    assert "muon" not in run_folder(outcome).name


def test_without_the_real_images_garments_are_used_with_a_warning(cli, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", Path("/nowhere"))
    options = [o for o in TINY if o not in ("--data", "garments")]
    outcome = cli("resconv", *options)
    assert outcome.code == 0
    assert outcome.out.count("NOT THE REAL DATA") == 1
    folder = run_folder(outcome)
    assert "-garments-" in folder.name
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["dataset"]["fallback_reason"]
    [found] = inspect(folder, "--summary", "--json")
    assert found["config"]["dataset"]["name"] == "garments"

    explicit = cli("resconv", *options, "--data", "fashion-mnist")
    assert explicit.code == 2
    assert "apt install dataset-fashion-mnist" in explicit.err


@pytest.mark.slow
def test_saving_between_two_rows_is_no_part_of_the_steps(monkeypatch):
    save = checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda *about: (time.sleep(0.1), save(*about)))
    options = TINY_OPTIONS | {"images": 512, "mode": "disabled", "checkpoint_every": 32}
    summary = run(Settings.parse("resconv", options), observer=repr).summary
    assert summary["time"]["saving"] > 1.6
    assert sum(summary["time"].values()) <= summary["seconds"]
