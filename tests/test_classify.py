"""``classify`` and ``predict`` through the command line: what they leave, and what they refuse."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.classification import overfitting
from train import main

TINY = ["--mode", "disabled", "--precision", "fp32", "--size", "16", "--batch-size", "8"]
COLOURS = {"blue": 2, "green": 1, "red": 0}


def call(capsys, *args) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the real command."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, args)))
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


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


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def train(capsys, data: Path, runs: Path, *args) -> Path:
    options = [*TINY, "--lr", "0.003", "--runs-dir", runs, *args]
    code, _, error = call(capsys, "classify", "--data", data, *options)
    assert code == 0, error
    (folder,) = runs.iterdir()
    return folder


def test_a_run_leaves_its_figures_and_predict_repeats_them(capsys, data, tmp_path):
    run = train(capsys, data, tmp_path / "runs", "--epochs", 5, "--log-every", 4, "--rank", 2,
                "--label-smoothing", 0.1, "--mirror-eval", "--shift", 2)  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    params = rows(run / "tables" / "params.csv")
    assert sum(int(r["parameters"]) for r in params) == summary["parameters"]
    kinds = [r["kind"] for r in params if "Conv" in r["kind"] or "Selection" in r["kind"]]
    assert kinds == ["Conv2d"] + ["ChannelSelectionConv2d"] * 14

    history = rows(run / "metrics.csv")
    validations = [r for r in history if r["val/accuracy"]]
    assert [float(r["epoch"]) for r in validations] == [1, 2, 3, 4, 5]
    last = history[-1]
    lowest = min(validations, key=lambda r: float(r["val/loss"]))
    assert last["overfit/epoch"] == lowest["epoch"]
    assert last["overfit/val_loss"] == lowest["val/loss"]

    confusion = rows(run / "tables" / "confusion.csv")
    assert [r["truth"] for r in confusion] == sorted(COLOURS)
    assert all(sum(int(r[name]) for name in COLOURS) == 5 for r in confusion)
    right = sum(int(r[r["truth"]]) for r in confusion)
    assert float(last["test/accuracy"]) == pytest.approx(right / 15)
    classes = rows(run / "tables" / "classes.csv")
    assert sum(int(r["correct"]) for r in classes) == right
    assert len(rows(run / "tables" / "mistakes.csv")) == 15 - right
    shown = rows(run / "tables" / "predictions.csv")
    assert len(shown) == 12
    for row in shown:
        chances = {name: float(row[f"p_{name}"]) for name in COLOURS}
        assert sum(chances.values()) == pytest.approx(1, abs=2e-4)
        assert row["prediction"] == max(chances, key=lambda name: chances[name])
        assert Image.open(run / row["picture"]).size == (16, 16)

    out = tmp_path / "submission.csv"
    (data / "test" / "red" / "notes.txt").write_text("not an image")
    code, said, error = call(capsys, "predict", run, data / "test", "--out", out)
    assert (code, error) == (0, "")
    assert "15 images labelled" in said and "not used: .txt files (1)" in said
    labelled = rows(out)
    assert [r["id"] for r in labelled[:2]] == ["blue/0.png", "blue/1.png"]
    assert sum(r["id"].split("/")[0] == r["label"] for r in labelled) == right
    best = run / "checkpoints" / "best.pt"
    assert call(capsys, "predict", best, data / "test", "--out", tmp_path / "2.csv")[0] == 0
    assert (tmp_path / "2.csv").read_text() == out.read_text()


def test_the_best_weights_are_the_ones_judged(capsys, data, tmp_path):
    # All predictions are right before the end: the first of equals is the best, while the
    # loss goes on falling.
    run = train(capsys, data, tmp_path / "runs", "--conv", "full", "--epochs", 6, "--scheduler",
                "constant", "--lr", 0.001)  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    accuracies = [float(r["val/accuracy"]) for r in rows(run / "metrics.csv") if r["val/accuracy"]]
    assert summary["best"]["val/accuracy"] == max(accuracies)
    first_best = accuracies.index(max(accuracies)) + 1
    assert summary["best"]["images_seen"] == first_best * 48 < 6 * 48
    losses = {}
    for name in ("best", "last"):
        out = tmp_path / f"{name}.csv"
        weights = run / "checkpoints" / f"{name}.pt"
        assert call(capsys, "predict", weights, data / "test", "--out", out)[0] == 0
        of_truth = [max(float(r[f"p_{r['id'].split('/')[0]}"]), 1e-9) for r in rows(out)]
        losses[name] = -sum(map(math.log, of_truth)) / len(of_truth)
    assert abs(losses["best"] - losses["last"]) > 0.01, "the two answer differently"
    assert summary["last"]["test/loss"] == pytest.approx(losses["best"], abs=0.003)
    best = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    assert best["config"]["network"]["parameters"] == 174_787


def test_any_torchvision_net_trains(capsys, data, tmp_path):
    run = train(capsys, data, tmp_path, "--model", "squeezenet1_1", "--size", 32, "--images", 16)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["channel_selections"] == 26


@pytest.mark.parametrize("stride", [1, 2])
def test_resconv_takes_the_layer_between_its_first_and_last(capsys, tmp_path, stride):
    code, _, error = call(
        capsys, "resconv", *TINY, "--data", "garments", "--train-images", 16, "--val-images", 8,
        "--epochs", 1, "--layers", 3, "--ch", 6, "--conv", "select", "--rank", 2, "--stride",
        stride, "--bn-encoder", "none", "--bn-decoder", "none", "--runs-dir", tmp_path,
    )  # fmt: skip
    assert code == 0, error
    (run,) = tmp_path.iterdir()
    outer = (6 * 9 + 6) + (6 * 9 + 1)
    inner = 4 * (2 * (6 * 6 + 6 * 9) + 6)
    assert json.loads((run / "summary.json").read_text())["parameters"] == outer + inner


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


WRONG = {
    "rank 0": (["--rank", "0"], "--rank 0: must be a whole number from 1"),
    "rank above k*k": (["--rank", "10"], "--rank 10: must be from 1 to 9"),
    "unknown net": (["--model", "resnet81"], "Did you mean 'resnet18'?"),
    "net too deep": (["--model", "alexnet", "--size", "32"], "cannot take 3x32x32 images"),
    "unknown conv": (["--conv", "selct"], "Did you mean 'select'?"),
    "dropout": (["--dropout", "1"], "--dropout 1: must be a number at least 0"),
    "smoothing": (["--label-smoothing", "x"], "--label-smoothing x: must be a number"),
    "option": (["--cutot", "4"], "--cutot"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_are_one_line_and_leave_nothing(capsys, data, tmp_path, case):
    args, words = WRONG[case]
    code, _, error = call(
        capsys, "classify", *TINY, "--data", data, "--runs-dir", tmp_path / "runs", *args
    )
    assert code == 2
    assert error.startswith("Error: ") and error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "runs").exists()


def test_folders_that_cannot_be_classified(capsys, tmp_path):
    only = tmp_path / "only"
    photos(only, "train", 2, 0)
    for name in ("blue", "green"):
        for file in (only / "train" / name).iterdir():
            file.unlink()
    for folder, words in ((only / "train", "no training images"),
                          (only / "train" / "red", "one class only")):  # fmt: skip
        code, _, error = call(capsys, "classify", *TINY, "--data", folder, "--runs-dir", tmp_path)
        assert (code, error.count("\n")) == (2, 1)
        assert words in error


def test_predict_refuses_what_it_cannot_use(capsys, data, tmp_path):
    run = train(capsys, data, tmp_path / "runs", "--images", 8)
    best = run / "checkpoints" / "best.pt"
    contents = torch.load(best, weights_only=True)

    def altered(name: str, **config) -> Path:
        path = tmp_path / name
        torch.save(contents | {"config": contents["config"] | config}, path)
        return path

    text = tmp_path / "text.pt"
    text.write_text("no checkpoint")
    empty = tmp_path / "empty"
    empty.mkdir()
    for checkpoint, folder, words in (
        (altered("command.pt", command="resconv"), data, "not of classification"),
        (altered("net.pt", conv="full"), data, "its weights do not fit"),
        (text, data, "text.pt"),
        (tmp_path / "none.pt", data, "no such checkpoint"),
        (best, empty, "holds no readable images"),
        (best, tmp_path / "nowhere", "is not a folder"),
    ):
        out = tmp_path / "out.csv"
        code, _, error = call(capsys, "predict", checkpoint, folder, "--out", out)
        assert (code, error.count("\n")) == (2, 1), error
        assert error.startswith("Error: ") and words in error
        assert not out.exists()
