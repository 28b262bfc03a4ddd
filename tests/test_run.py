"""A whole run through the command line: what it leaves, read back with W&B's own tools."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from data import fashion_mnist
from experiment.checkpoints import load
from experiment.settings import Settings
from models.resconv import ResConv
from tasks.corruptions import SIDES, Half
from tasks.registry import make_task
from tests.conftest import TINY, run_folder
from training.hardware import choose_hardware
from training.settings import HardwareSettings

STEPS = 8  # 256 images, batch 32


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def inspect(folder: Path, *flags: str) -> list[dict]:
    """What W&B's own reader finds in an offline run."""
    [run] = folder.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", str(run), *flags]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "--summary" in flags:
        return [json.loads(text)]
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_run_leaves_the_same_story_in_its_folder_and_in_wandb(cli):
    outcome = cli("resconv", *TINY, "--epochs", 2, "--images", 512, "--tags", "t")
    assert (outcome.code, outcome.err) == (0, "")
    folder = run_folder(outcome)
    assert "W&B is offline: no W&B API key found" in outcome.out
    assert f"python train.py sync {folder}" in outcome.out

    rows = rows_of(folder / "metrics.csv")
    assert [int(row["step"]) for row in rows] == [3, 6, 8, 9, 12, 15, 16]
    assert [row["step"] for row in rows if row["val/l1"]] == ["8", "16"]
    summary = json.loads((folder / "summary.json").read_text())
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
    demo = rows_of(folder / "tables" / "reconstructions.csv")
    assert len(demo) == 20
    assert {row["damage"] for row in demo} == {f"{side} erased" for side in SIDES}
    assert len({row["class"] for row in demo}) == 10
    for row in demo:
        for kind in ("input", "output", "target", "error"):
            assert Image.open(folder / row[kind]).size == (12, 12)
    params = rows_of(folder / "tables" / "params.csv")
    assert sum(int(row["parameters"]) for row in params) == summary["parameters"]
    assert [r["receptive_field"] for r in params if r["kind"] == "Conv2d"] == ["3", "5", "7", "9"]
    [results] = rows_of(folder / "tables" / "results.csv")
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


def test_the_logged_metrics_are_those_of_the_saved_network(cli):
    folder = run_folder(cli("resconv", *TINY, "--mode", "disabled", "--precision", "fp32"))
    saved = load(folder / "checkpoints" / "best.pt")
    settings = Settings.parse("resconv", {k: saved["config"][k] for k in ("layers", "ch", "size")})
    net = ResConv(**settings.net.arguments(), image_channels=1)
    net.load_state_dict(saved["model"])
    options = dict(zip(TINY[::2], TINY[1::2], strict=True))
    task = make_task(Settings.parse("resconv", {k[2:]: v for k, v in options.items()}))
    targets = task.data.val.images / 255
    sides = Half().fixed(len(targets))
    with torch.no_grad():
        error = (net.eval()(Half()(targets, sides)[0]) - targets).abs()
    height, width = targets.shape[-2:]
    halves = {"left": (..., slice(width // 2)), "right": (..., slice(width // 2, None))}
    halves |= {"top": (..., slice(height // 2), slice(None))}
    halves |= {"bottom": (..., slice(height // 2, None), slice(None))}
    erased = torch.stack([e[halves[SIDES[s]]].mean() for e, s in zip(error, sides, strict=True)])
    metrics = json.loads((folder / "summary.json").read_text())["last"]
    assert metrics["val/l1"] == pytest.approx(float(error.mean()), rel=1e-5)
    assert metrics["val/l1_erased"] == pytest.approx(float(erased.mean()), rel=1e-5)
    kept = 2 * float(error.mean()) - float(erased.mean())
    assert metrics["val/l1_kept"] == pytest.approx(kept, rel=1e-5)
    assert metrics["val/l1_composite"] == pytest.approx(float(erased.mean()) / 2, rel=1e-5)
    assert metrics["val/mse"] == pytest.approx(float(error.square().mean()), rel=1e-5)


def test_without_the_real_images_garments_take_their_place_loudly(cli, monkeypatch):
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


def test_a_failed_tracker_start_is_not_a_failed_run(cli, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    outcome = cli("resconv", *TINY)
    assert outcome.code == 0
    assert "W&B is offline: the W&B server http://127.0.0.1:9 does not answer" in outcome.out
    assert list(run_folder(outcome).glob("wandb/offline-run-*"))


def test_the_device_is_said_and_the_precision_can_be_overruled():
    fp32 = choose_hardware(HardwareSettings(device="cpu", precision="fp32"))
    bf16 = choose_hardware(HardwareSettings(device="cpu", precision="bf16"))
    assert (fp32.dtype, bf16.dtype) == (torch.float32, torch.bfloat16)
