"""What commit 73bab81 left (tests/legacy/README.md) still resumes, counts and can be used."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import read_csv, summary_of

LEGACY = Path(__file__).parent / "legacy"
ENDS = json.loads((LEGACY / "ends.json").read_text())


@pytest.fixture
def legacy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of everything, as if it had been made where it lies now."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "legacy"
    shutil.copytree(LEGACY, folder)
    journal = folder / "studies" / "mini.journal"
    text = journal.read_text().replace("/tmp/convtune-legacy", str(folder))
    # Claims are judged by their age on other machines, whose clocks may be behind the maker's.
    journal.write_text(re.sub(r'"time":\d{10}', '"time":1700000000', text))
    yield folder
    torch.set_num_threads(threads)


def only(legacy: Path, name: str) -> Path:
    [folder] = (legacy / "runs").glob(f"{name}-*")
    return folder


def assert_ended_as_before(folder: Path, name: str) -> None:
    summary = summary_of(folder)
    assert summary["state"] == "finished"
    for key, value in ENDS[name].items():
        assert summary["last"][key] == pytest.approx(value, rel=1e-5, abs=1e-6), key
    steps = [int(row["step"]) for row in read_csv(folder / "metrics.csv")]
    assert steps == sorted(steps), "rows of the interrupted part are not repeated"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "how"), [("resconv", "path"), ("resconv", "auto"), ("classify", "path")]
)
def test_an_unfinished_run_resumes_and_ends_at_the_figures_of_73bab81(
    cli, legacy, monkeypatch, command, how
):
    folder = only(legacy, f"cut-{command}")
    kept = read_csv(folder / "metrics.csv")[0]
    if how == "path":
        outcome = cli(command, "--resume", folder)
    else:
        monkeypatch.setenv("WANDB_MODE", "disabled")
        outcome = cli(
            command, "--resume", "auto", "--runs-dir", folder.parent, "--data", "garments",
            "--train-images", 64, "--val-images", 4, "--layers", 2, "--ch", 4, "--bn-decoder",
            "none", "--batch-size", 16, "--images", 160, "--log-every", 3, "--precision", "fp32",
            "--checkpoint-every", 32, "--name", "cut-resconv",
        )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert only(legacy, f"cut-{command}") == folder, "no second run folder"
    assert kept.items() <= read_csv(folder / "metrics.csv")[0].items(), (
        "not repeated from its start"
    )
    assert_ended_as_before(folder, f"cut-{command}")


@pytest.mark.slow
def test_an_old_study_keeps_its_finished_points_and_trains_the_rest(cli, legacy, monkeypatch):
    monkeypatch.chdir(legacy)
    status = cli("sweep", "mini.yaml", "--status")
    assert status.code == 0, status.err
    assert re.search(r"2 done, 0 running, 0 failed, 2 missing", status.out), status.out
    done = {layers: only(legacy, f"mini-ks3-layers{layers}") for layers in (1, 2)}
    before = {n: (f / "checkpoints" / "last.pt").stat().st_mtime_ns for n, f in done.items()}
    resumed = only(legacy, "mini-ks5-layers1")

    outcome = cli("sweep", "mini.yaml", "--mode", "disabled")
    assert outcome.code == 0, outcome.err
    assert "4 done" in outcome.out
    after = {n: (f / "checkpoints" / "last.pt").stat().st_mtime_ns for n, f in done.items()}
    assert after == before, "what is done is not trained again"
    assert only(legacy, "mini-ks5-layers1") == resumed, "a lost point resumes in its folder"
    for layers in (1, 2):
        name = f"mini-ks5-layers{layers}"
        assert_ended_as_before(only(legacy, name), name)


@pytest.mark.parametrize("source", ["mini.yaml", "runs/mini-*"])
def test_old_runs_are_compared(cli, legacy, monkeypatch, source):
    monkeypatch.chdir(legacy)
    outcome = cli("compare", *map(str, Path().glob(source)), "--format", "json")
    assert outcome.code == 0, outcome.err
    tables = json.loads(outcome.out)
    [rows] = [table["rows"] for table in tables]
    folders = [only(legacy, f"mini-ks3-layers{layers}") for layers in (2, 1)]  # best first
    assert [row["run_ids"] for row in rows] == [[folder.name[-8:]] for folder in folders]
    losses = [summary_of(folder)["last"]["val/l1"] for folder in folders]
    assert [row["val/l1"] for row in rows] == pytest.approx(losses, rel=1e-4)
    assert [int(row["layers"]) for row in rows] == [2, 1]


# ReLU and Adam enlarge the rounding in which processors differ: 1.4e-4 between AVX2 and AVX-512.
@pytest.mark.parametrize(("command", "rel"), [("resconv", 1e-5), ("classify", 2e-3)])
def test_an_old_run_reruns_to_the_same_figures(cli, legacy, command, rel):
    folder = only(legacy, f"legacy-{command}")
    new = legacy / "new"
    outcome = cli("rerun", folder, "--device", "cpu", "--mode", "disabled", "--runs-dir", new)
    assert outcome.code == 0, outcome.err + outcome.out
    [again] = new.glob("*/summary.json")
    before = summary_of(folder)["last"]
    after = json.loads(again.read_text())["last"]
    for key, value in before.items():
        if not key.startswith("perf/"):
            assert after[key] == pytest.approx(value, rel=rel, abs=1e-6), key


def test_an_old_net_restores_as_it_did(cli, legacy):
    folder = only(legacy, "legacy-resconv")
    for row in read_csv(folder / "tables" / "reconstructions.csv"):
        target = legacy / f"image-{row['index']}.png"
        shutil.copy(folder / row["target"], target)
        outcome = cli("restore", folder, target, "--erase", row["side"], "--raw", "--device", "cpu")
        assert outcome.code == 0, outcome.err
        assert f"L1 {float(row['l1']):.4f}" in outcome.out
        restored = np.asarray(Image.open(target.with_name(f"{target.stem}-restored.png")))
        then = np.asarray(Image.open(folder / row["output"]))
        assert np.abs(restored.astype(int) - then.astype(int)).max() <= 1


def test_an_old_classifier_predicts_as_it_did(cli, legacy):
    folder = only(legacy, "legacy-classify")
    shown = read_csv(folder / "tables" / "predictions.csv")
    images = legacy / "images"
    images.mkdir()
    for row in shown:
        shutil.copy(folder / row["picture"], images / f"{int(row['index']):02}.png")
    out = legacy / "out.csv"
    checkpoint = folder / "checkpoints" / "best.pt"
    outcome = cli("predict", checkpoint, images, "--out", out, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    predicted = read_csv(out)
    assert len(predicted) == len(shown) == 10
    by_index = {f"{int(row['index']):02}.png": row for row in shown}
    for row in predicted:
        before = by_index[row["id"]]
        assert row["label"] == before["prediction"]
        now, then = list(row.values())[2:], list(before.values())[4:]
        # Tables are rounded to four digits; other thread counts round differently.
        assert [float(p) for p in now] == pytest.approx([float(p) for p in then], abs=2e-4)
