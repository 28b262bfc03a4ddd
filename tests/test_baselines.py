"""Baselines against small computations in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasks.baselines import Baseline
from tasks.corruptions import Half, half_mask
from tests.conftest import read_csv, run_folder, summary_of
from tests.cut import only_run, run_in_child
from training import hardware


def images(n: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, 1, 6, 8), np.uint8))


def damaged(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    targets = pixels / 255
    inputs, mask = Half()(targets, torch.arange(len(pixels)) % 4)
    return torch.cat([inputs, mask.float()], dim=1), targets


def fitted(method: str, **settings: object) -> Baseline:
    baseline = Baseline(method=method, **settings)  # type: ignore[arg-type]
    baseline.fit(images(50, seed=0), damaged)
    return baseline


def by_hand(fill) -> np.ndarray:
    """Outputs for eight images whose damaged pixels ``fill(image, visible, train)`` gives."""
    train = images(50, seed=0).numpy().reshape(50, -1) / 255
    pixels = images(8, seed=1).numpy().reshape(8, -1) / 255
    masks = half_mask(torch.arange(8) % 4, 6, 8).numpy().reshape(8, -1)
    outputs = pixels.copy()
    for output, mask in zip(outputs, masks, strict=True):
        output[mask] = fill(output, ~mask, train)[mask]
    return outputs.reshape(8, 1, 6, 8)


def knn(order: int, k: int, combine: str):
    def fill(image: np.ndarray, visible: np.ndarray, train: np.ndarray) -> np.ndarray:
        gaps = np.linalg.norm(train[:, visible] - image[visible], ord=order, axis=1)
        nearest = np.argsort(gaps)[:k]
        if combine == "weighted":
            return np.average(train[nearest], axis=0, weights=1 / gaps[nearest])
        return getattr(np, combine)(train[nearest], axis=0)

    return fill


def ridge(image: np.ndarray, visible: np.ndarray, train: np.ndarray) -> np.ndarray:
    mean_x, mean_y = train[:, visible].mean(0), train.mean(0)
    x = train[:, visible] - mean_x
    weights = np.linalg.solve(x.T @ x + 3.0 * np.eye(x.shape[1]), x.T @ (train - mean_y))
    return np.clip((image[visible] - mean_x) @ weights + mean_y, 0, 1)


CASES = {
    "zeros": ({}, lambda image, visible, train: np.zeros(48)),
    "mean": ({}, lambda image, visible, train: train.mean(0)),
    "ridge": ({"ridge": 3.0}, ridge),
    "knn": ({"k": 4, "distance": "l2", "combine": "median"}, knn(2, 4, "median")),
    "knn l1": ({"k": 3, "distance": "l1", "combine": "mean"}, knn(1, 3, "mean")),
    "knn w": ({"k": 5, "distance": "l2", "combine": "weighted"}, knn(2, 5, "weighted")),
}


@pytest.mark.parametrize("case", CASES)
def test_each_method_equals_its_computation_by_hand(case):
    settings, fill = CASES[case]
    outputs = fitted(case.split()[0], **settings)(damaged(images(8, seed=1))[0])
    np.testing.assert_allclose(outputs.numpy(), by_hand(fill), rtol=1e-3, atol=2e-4)


def test_the_mirror_image_fills_the_erased_half():
    inputs, targets = damaged(images(4, seed=1))
    outputs = fitted("mirror")(inputs)
    left, right, top, bottom = outputs
    torch.testing.assert_close(left[..., :4], targets[0, ..., 4:].flip(-1))
    torch.testing.assert_close(right[..., 4:], targets[1, ..., :4].flip(-1))
    torch.testing.assert_close(top[:, :3], targets[2, :, 3:].flip(-2))
    torch.testing.assert_close(bottom[:, 3:], targets[3, :, :3].flip(-2))


def test_settings_are_chosen_on_held_out_training_images_only(capfd):
    baseline = fitted("knn")
    assert None not in (baseline.k, baseline.distance, baseline.combine)
    assert "on 10 held-out images" in capfd.readouterr().err
    assert len(baseline.train_pixels) == 50  # afterwards they are neighbours like the others


def test_ridge_memory_does_not_grow_with_the_number_of_masks():
    pixels, baseline = images(8, seed=1) / 255, fitted("ridge", ridge=3.0)
    for shift in range(6):
        mask = torch.zeros_like(pixels, dtype=torch.bool)
        mask[..., shift, shift] = True
        baseline(torch.cat([pixels.where(~mask, 0), mask.float()], dim=1))
        kept = [v for v in vars(baseline).values() if isinstance(v, torch.Tensor | dict | tuple)]
        assert sum(map(len, kept)) == 50 + 49 + 2  # images, products, the last key and solution


def test_more_than_32_neighbours_are_judged_by_all_of_them():
    inputs, targets = damaged(images(8, seed=1))
    knn = fitted("knn", k=50, distance="l2", combine="mean")
    [(error, _)] = knn._knn_errors(inputs, targets)
    mean = (fitted("mean")(inputs) - targets).abs().mean()
    assert error == pytest.approx(float(mean), rel=1e-5)


@pytest.mark.slow
def test_a_baseline_killed_at_its_end_is_resumed(cli, tmp_path):
    options = {
        "method": "mean", "data": "garments", "train_images": 60, "val_images": 20,
        "mode": "disabled", "runs_dir": str(tmp_path), "resume": "auto",
    }  # fmt: skip
    assert run_in_child("baseline", options, "end", 1) == -9
    folder = only_run(tmp_path)
    assert (folder / "checkpoints" / "last.pt").is_file()
    outcome = cli("baseline", "--method", "mean", "--resume", folder)
    assert outcome.code == 0, outcome.err
    assert f"Resuming {folder} from the start" in outcome.out
    assert summary_of(folder)["state"] == "finished" and len(read_csv(folder / "metrics.csv")) == 1


def test_a_baseline_accepts_training_options_from_sweeps_but_hides_them_in_help(cli):
    shown = cli("baseline", "--help").out
    assert "--seed" in shown and "--epochs" not in shown and "--loss" not in shown
    small = ["--train-images", 60, "--val-images", 20, "--data", "garments", "--mode", "disabled"]
    assert cli("baseline", "--method", "mean", *small, "--images=128").code == 0


@pytest.mark.parametrize("method", ["knn", "ridge", "mirror"])
def test_a_baseline_is_a_run_like_any_other(cli, method, monkeypatch):
    monkeypatch.setattr(hardware, "_has_fast_bf16", lambda device: True)
    outcome = cli(
        "baseline", "--method", method, "--data", "garments", "--train-images", 300,
        "--val-images", 40, "--mode", "disabled",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    folder = run_folder(outcome)
    summary = summary_of(folder)
    assert summary["last"]["val/l1"] == pytest.approx(summary["last"]["val/l1_composite"])
    assert summary["last"]["val/l1_kept"] == pytest.approx(0, abs=1e-6)
    assert 0 < summary["last"]["val/l1"] < 0.2
    assert (folder / "tables" / "reconstructions.csv").is_file()
