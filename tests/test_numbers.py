"""Numbers that once went wrong: infinite PSNR, huge budgets, single images, infinite weights."""

from __future__ import annotations

import tracemalloc

import pytest
import torch

from common.errors import InputError
from experiment.settings import Settings
from tasks.base import evaluate
from tasks.metrics import RESTORATION
from tests.conftest import make_training, run_folder, summary_of
from training.trainer import NonFiniteLoss


def test_an_image_restored_exactly_counts_as_100_db_and_half_of_it_as_its_own():
    targets = torch.zeros(2, 1, 12, 12)
    outputs = targets.clone()
    outputs[1] += 0.1
    mask = torch.ones(2, 1, 12, 12, dtype=torch.bool)
    values = evaluate(RESTORATION, [(outputs, targets, mask)], "val")
    assert values["val/psnr"] == pytest.approx((100 + 20) / 2, abs=1e-4)
    assert "val/l1_kept" not in values  # nothing was kept: no term, no NaN


def test_metrics_count_parts_of_images_by_their_size():
    torch.manual_seed(0)
    outputs, targets = torch.rand(5, 3, 12, 12), torch.rand(5, 3, 12, 12)
    mask = torch.rand(5, 1, 12, 12) < 0.3
    whole = evaluate(RESTORATION, [(outputs, targets, mask)], "val")
    parts = [(outputs[i:j], targets[i:j], mask[i:j]) for i, j in ((0, 2), (2, 5))]
    assert evaluate(RESTORATION, parts, "val") == pytest.approx(whole)
    error = (outputs - targets).abs()
    wide = mask.expand_as(error)
    assert whole["val/l1_erased"] == pytest.approx(error[wide].mean().item())
    assert whole["val/l1_kept"] == pytest.approx(error[~wide].mean().item())
    assert whole["val/l1_composite"] == pytest.approx((error * wide).mean().item())


def test_a_huge_budget_takes_no_memory_and_validates_every_epoch():
    tracemalloc.start()
    trainer = make_training(images=10**15)
    assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    tracemalloc.stop()
    validated = []
    for trainer.step in range(1, 33):
        if trainer.at_validation:
            validated.append(trainer.step)
    assert validated == [8, 16, 24, 32]  # 256 images, batch 32


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("resconv", {"size": 12, "layers": 4, "stride": 2, "padding": 1, "ch": 4}),
        ("classify", {"size": 11, "model": "resnet18", "conv": "full", "shift": 2}),
    ],
)
def test_a_batch_of_one_is_refused_if_batch_norm_cannot_train(command, options):
    data = {"data": "garments", "train_images": 40, "val_images": 20, "images": 8}
    with pytest.raises(InputError, match=r"--batch-size 1: .*for example --batch-size 2"):
        make_training(command, **data | options | {"batch_size": 1})
    make_training(batch_size=1, images=8)  # maps stay large: fine


def test_non_finite_weights_are_never_saved():
    trainer = make_training()
    trainer.train_step()
    next(iter(trainer.net.buffers())).fill_(float("inf"))
    with pytest.raises(NonFiniteLoss, match="became NaN or infinite by step 1 of 8"):
        trainer.state()


@pytest.mark.parametrize("text", ["3 5", "4 8", "3 :9 1", "9" * 23])
def test_white_space_inside_a_number_is_refused(text):
    with pytest.raises(InputError, match="must be a whole number"):
        Settings.parse("resconv", {"ks": text})
    assert Settings.parse("resconv", {"ks": " 3 : 9 "}).flat()["ks"] == "3:9"


def test_overfitting_figures_do_not_depend_on_the_log_interval(cli, tmp_path):
    found = []
    for every in (1, 25):
        outcome = cli(
            "classify", "--data", "garments", "--size", 12, "--shift", 2, "--train-images", 24,
            "--val-images", 20, "--epochs", 2, "--batch-size", 3, "--mode", "disabled",
            "--precision", "fp32", "--log-every", every, "--runs-dir", tmp_path / str(every),
        )  # fmt: skip
        summary = summary_of(run_folder(outcome))
        found.append(summary["last"]["overfit/train_loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
