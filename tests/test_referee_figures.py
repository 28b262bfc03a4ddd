"""The figures of validations and whole runs, against plain formulas on plainly read images."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.adapters import Trainer, build_net, load_checkpoint, set_chunk
from tests.conftest import SIZE, read_csv, summary_of
from tests.plain import class_figures, restoration_figures, side_numbers


@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize(
    ("command", "values"),
    [
        ("resconv", {"layers": 3, "ch": 6, "ks": "3,5,3", "residual_weight": 0.5}),
        ("classify", {"flip": True, "shift": 4, "cutout": 4, "dropout": 0.5}),
        ("classify", {"mirror_eval": True}),
    ],
)
def test_validation_figures_are_those_of_the_formulas(
    command, values, chunk, tiny_data, tiny_splits, monkeypatch
):
    set_chunk(monkeypatch, chunk)
    trainer = Trainer(command, tiny_data, batch_size=12, lr=0.01, **values)
    for _ in range(3):
        trainer.train_step()
    found = trainer.validate()
    assert trainer.net.training, "training goes on in training mode"
    images, labels = tiny_splits["val"]
    net = copy.deepcopy(trainer.net)
    if command == "resconv":
        expected = restoration_figures(net, images, side_numbers(len(images)))
    else:
        expected = class_figures(net, images, labels, "val", mirror="mirror_eval" in values)
    assert {k: v for k, v in found.items() if k in expected} == pytest.approx(expected, abs=2e-5)
    assert set(expected) <= set(found)


def read(path: Path) -> Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy())[None, None]


@pytest.fixture
def pictures(tmp_path: Path, tiny_splits) -> Path:
    """The tiny data set as files: train, val and test, a folder for each class."""
    for split, (images, labels) in tiny_splits.items():
        for n, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            path = tmp_path / "pictures" / split / f"class{label}" / f"{n:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(path)
    return tmp_path / "pictures"


def trained(cli, command: str, pictures: Path, *options: object) -> Path:
    runs = pictures.parent / "runs"
    outcome = cli(
        command, "--data", pictures, "--size", SIZE, "--batch-size", 16, "--mode", "disabled",
        "--device", "cpu", "--precision", "fp32", "--runs-dir", runs, "--log-every", 4, *options,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    [folder] = runs.iterdir()
    return folder


def saved_net(run: Path, name: str) -> nn.Module:
    saved = load_checkpoint(run / "checkpoints" / f"{name}.pt")
    net = build_net(saved["config"], 4, 1)
    net.load_state_dict(saved["model"])
    return net


def path_hash(path: Path) -> bytes:
    return hashlib.sha256(path.as_posix().encode()).digest()


def test_the_figures_of_a_restoration_run_come_from_its_checkpoint(cli, pictures):
    run = trained(cli, "resconv", pictures, "--layers", 3, "--ch", 6, "--epochs", 2, "--lr", 0.01)
    summary = summary_of(run)
    best_net, last_net = saved_net(run, "best"), saved_net(run, "last")
    shown = read_csv(run / "tables" / "reconstructions.csv")
    assert len(shown) == 20
    for row in shown:
        target = read(run / row["target"])
        side = ["left", "right", "top", "bottom"].index(row["damage"].split()[0])
        figures = restoration_figures(last_net, target, [side])
        assert float(row["l1"]) == pytest.approx(figures["val/l1"], abs=1e-5)
        assert float(row["l1_erased"]) == pytest.approx(figures["val/l1_erased"], abs=1e-5)
    # The whole validation does not depend on the order of the files where no half is erased less
    # often than another: each group of four images has each half once.
    by_hash = sorted(
        (pictures / "val").rglob("*.png"), key=lambda p: path_hash(p.relative_to(pictures / "val"))
    )
    images = torch.cat([read(path) for path in by_hash])
    expected = restoration_figures(best_net, images, side_numbers(len(images)))
    best = {k: v for k, v in summary["best"].items() if k in expected}
    assert best == pytest.approx(expected, abs=5e-5)
    errors = [float(r["val/l1"]) for r in read_csv(run / "metrics.csv") if r["val/l1"]]
    assert summary["best"]["val/l1"] == pytest.approx(min(errors))


def test_the_figures_of_a_classification_run_come_from_its_best_checkpoint(cli, pictures):
    # The rate is too high to end at the best weights.
    run = trained(cli, "classify", pictures, "--epochs", 4, "--scheduler", "constant", "--lr", 0.02)
    summary = summary_of(run)
    losses = {}
    for name in ("best", "last"):
        net = saved_net(run, name)
        for split in ("val", "test"):
            files = sorted((pictures / split).rglob("*.png"))
            images = torch.cat([read(path) for path in files])
            labels = torch.tensor([int(path.parent.name[5:]) for path in files])
            losses[name, split] = class_figures(net, images, labels, split)
        if name == "best":
            for row in read_csv(run / "tables" / "predictions.csv"):
                with torch.no_grad():
                    inputs = (read(run / row["picture"]).float() / 255 - 0.5) * 4
                    p = net.eval()(inputs).softmax(1)[0].tolist()
                assert [float(row[f"p_class{n}"]) for n in range(4)] == pytest.approx(p, abs=1e-4)
    assert abs(losses["best", "test"]["test/loss"] - losses["last", "test"]["test/loss"]) > 0.01
    for found, expected in (
        (summary["last"], losses["best", "test"]),
        (summary["last"], losses["last", "val"]),
        (summary["best"], losses["best", "val"]),
    ):
        assert {k: found[k] for k in expected} == pytest.approx(expected, abs=2e-5)
    accuracies = [float(r["val/accuracy"]) for r in read_csv(run / "metrics.csv") if r["val/loss"]]
    assert summary["best"]["val/accuracy"] == pytest.approx(max(accuracies))
