"""``classify`` and ``predict`` through the command line: what they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.classification import overfitting
from tests.conftest import read_csv, summary_of

TINY = ["--mode", "disabled", "--precision", "fp32", "--size", "16", "--batch-size", "8"]
COLOURS = {"blue": 2, "green": 1, "red": 0}


def photos(root: Path, split: str, count: int, seed: int) -> None:
    """``count`` noisy pictures of each colour, of mixed sizes."""
    rng = np.random.default_rng(seed)
    for name, channel in COLOURS.items():
        folder = root / split / name
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 120, (16 + i, 20, 3), dtype=np.uint8)
            pixels[..., channel] += 130
            Image.fromarray(pixels).save(folder / f"{i}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for seed, (split, count) in enumerate({"train": 16, "val": 4, "test": 5}.items()):
        photos(root, split, count, seed)
    (root / "train" / "red" / "notes.txt").write_text("not an image")
    (root / "train" / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    return root


def train(cli, data: Path, runs: Path, *args) -> Path:
    options = [*TINY, "--lr", "0.003", "--runs-dir", runs, *args]
    outcome = cli("classify", "--data", data, *options)
    assert outcome.code == 0, outcome.err
    (folder,) = runs.iterdir()
    return folder


def test_predict_reproduces_the_metrics_of_the_run(cli, data, tmp_path):
    run = train(cli, data, tmp_path / "runs", "--epochs", 5, "--log-every", 4, "--rank", 2,
                "--label-smoothing", 0.1, "--mirror-eval", "--shift", 2)  # fmt: skip
    summary = summary_of(run)
    params = read_csv(run / "tables" / "params.csv")
    assert sum(int(r["parameters"]) for r in params) == summary["parameters"]
    kinds = [r["kind"] for r in params if "Conv" in r["kind"] or "Selection" in r["kind"]]
    assert kinds == ["Conv2d"] + ["ChannelSelectionConv2d"] * 14

    history = read_csv(run / "metrics.csv")
    validations = [r for r in history if r["val/accuracy"]]
    assert [float(r["epoch"]) for r in validations] == [1, 2, 3, 4, 5]
    accuracies = [float(r["val/accuracy"]) for r in validations]
    first_best = accuracies.index(max(accuracies))
    assert accuracies.count(max(accuracies)) > 1, "the first of equals is the best"
    assert summary["best"]["images_seen"] == int(validations[first_best]["images_seen"])
    last = history[-1]
    lowest = min(validations, key=lambda r: float(r["val/loss"]))
    assert last["overfit/epoch"] == lowest["epoch"]
    assert last["overfit/val_loss"] == lowest["val/loss"]

    confusion = read_csv(run / "tables" / "confusion.csv")
    assert [r["truth"] for r in confusion] == sorted(COLOURS)
    assert all(sum(int(r[name]) for name in COLOURS) == 5 for r in confusion)
    right = sum(int(r[r["truth"]]) for r in confusion)
    assert float(last["test/accuracy"]) == pytest.approx(right / 15)
    classes = read_csv(run / "tables" / "classes.csv")
    assert sum(int(r["correct"]) for r in classes) == right
    assert len(read_csv(run / "tables" / "mistakes.csv")) == 15 - right
    shown = read_csv(run / "tables" / "predictions.csv")
    assert len(shown) == 12
    for row in shown:
        chances = {name: float(row[f"p_{name}"]) for name in COLOURS}
        assert sum(chances.values()) == pytest.approx(1, abs=2e-4)
        assert row["prediction"] == max(chances, key=lambda name: chances[name])
        assert Image.open(run / row["picture"]).size == (16, 16)

    out = tmp_path / "submission.csv"
    (data / "test" / "red" / "notes.txt").write_text("not an image")
    outcome = cli("predict", run, data / "test", "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert "15 images labelled" in outcome.out and "not used: .txt files (1)" in outcome.out
    labelled = read_csv(out)
    assert [r["id"] for r in labelled[:2]] == ["blue/0.png", "blue/1.png"]
    assert sum(r["id"].split("/")[0] == r["label"] for r in labelled) == right
    best = run / "checkpoints" / "best.pt"
    assert cli("predict", best, data / "test", "--out", tmp_path / "2.csv").code == 0
    assert (tmp_path / "2.csv").read_text() == out.read_text()


def test_any_torchvision_net_trains(cli, data, tmp_path):
    run = train(cli, data, tmp_path, "--model", "squeezenet1_1", "--size", 32, "--images", 16)
    summary = summary_of(run)
    assert summary["channel_selections"] == 26


def test_overfitting_begins_where_validation_loss_is_least():
    history = [
        {"step": 5, "epoch": 0.5, "train/loss": 3.0},
        {"step": 10, "epoch": 1.0, "train/loss": 1.0, "val/loss": 1.5},
        {"step": 16, "epoch": 1.6, "train/loss": 0.8},
        {"step": 20, "epoch": 2.0, "train/loss": 0.6, "val/loss": 1.2},
        {"step": 30, "epoch": 3.0, "train/loss": 0.1, "val/loss": 1.9},
    ]
    assert overfitting(history) == {
        "overfit/epoch": 2.0, "overfit/val_loss": 1.2, "overfit/train_loss": pytest.approx(0.72),
    }  # fmt: skip
    assert overfitting([{"step": 1, "epoch": 1.0, "train/loss": 1.0}]) == {}
