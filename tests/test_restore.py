"""``restore``: any image size, seamless, honest about what it did, and free of heavy imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inference import restore
from inference.restore import load_restorer
from tests.conftest import ROOT, TINY_OPTIONS, run_folder

DISABLED = ["--mode", "disabled"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny trained net."""
    from experiment.run import run
    from experiment.settings import Settings

    options = {"mode": "disabled", "images": 64, "runs_dir": str(tmp_path_factory.mktemp("runs"))}
    settings = Settings.parse("resconv", TINY_OPTIONS | options)
    return run(settings, observer=lambda row: None).folder


def picture(path: Path, height: int, width: int, mode: str = "L") -> np.ndarray:
    path.parent.mkdir(exist_ok=True)
    shape = (height, width) if mode == "L" else (height, width, 3)
    pixels = np.random.default_rng(height * width).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_an_image_of_any_size_is_restored_as_the_net_itself_does(trained, cli, tmp_path):
    pixels = picture(tmp_path / "odd.png", 37, 51)
    outcome = cli("restore", trained, tmp_path / "odd.png", "--erase", "right")
    assert (outcome.code, outcome.err) == (0, "")
    result = np.asarray(Image.open(tmp_path / "odd-restored.png"))
    assert result.shape == pixels.shape
    restorer = load_restorer(trained / "checkpoints" / "best.pt", "cpu")
    wanted = torch.from_numpy(pixels.copy())[None, None] / 255
    with torch.no_grad():
        output = restorer.net(wanted * (torch.arange(51) < 25))
    output[..., :25] = wanted[..., :25]  # known pixels are copied
    assert np.abs(result / 255 - output[0, 0].numpy()).max() < 0.003
    error = (output - wanted).abs()
    assert f"37x51, right half erased, L1 {error.mean():.4f}" in outcome.out
    assert f"in that half {error[..., 25:].mean():.4f}" in outcome.out


def test_a_large_image_is_computed_in_tiles_without_a_seam(trained, monkeypatch):
    restorer = load_restorer(trained, "cpu")
    images = torch.randint(256, (1, 1, 70, 45), dtype=torch.uint8)
    whole = restorer(images)
    monkeypatch.setattr(restore, "TILE", 16)
    assert torch.allclose(restorer(images), whole, atol=1e-6)


def test_tiles_begin_where_the_patches_of_a_net_do(cli, monkeypatch):
    small = ["--layers", 2, "--width", 8, "--kernel", 3, "--data", "garments", "--images", 64]
    outcome = cli("convnext", *small, "--train-images", 64, "--val-images", 20, *DISABLED)
    assert outcome.code == 0, outcome.err
    restorer = load_restorer(run_folder(outcome), "cpu")
    images = torch.randint(256, (1, 1, 70, 45), dtype=torch.uint8)
    whole = restorer(images)
    monkeypatch.setattr(restore, "TILE", 16)
    assert restorer.halo == 6, "5 pixels, to whole patches of 2"
    assert torch.allclose(restorer(images), whole, atol=1e-6)


def test_a_run_is_found_by_its_id_and_a_baseline_has_no_net(cli, tmp_path):
    pixels = picture(tmp_path / "x.png", 28, 28)
    assert pixels.shape == (28, 28)
    small = ["--data", "garments", "--train-images", 64, "--val-images", 20, *DISABLED]
    run = run_folder(cli("resconv", "--layers", 2, "--ch", 4, "--images", 64, *small))
    assert cli("restore", run.name[-8:], tmp_path / "x.png").code == 0
    fitted = run_folder(cli("baseline", "--method", "mean", *small))
    for command in (["restore", fitted, tmp_path / "x.png"],
                    ["export", fitted, "--to", "hub-folder", tmp_path / "hub"]):  # fmt: skip
        outcome = cli(*command)
        assert outcome.code == 2 and "a baseline has no trained net" in outcome.err


def test_class_folders_colour_images_and_other_files(trained, cli, tmp_path):
    folder = tmp_path / "photos"
    for name in ("a", "b"):
        picture(folder / f"{name}.png", 14, 16)
    picture(folder / "c.png", 20, 16, "RGB")
    (folder / "notes.txt").write_text("no image")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    out = tmp_path / "results"
    outcome = cli("restore", trained, folder, "--out", out)
    assert outcome.code == 0
    assert {p.name for p in out.iterdir()} == {f"{n}-restored.png" for n in "abc"}
    assert Image.open(out / "c-restored.png").mode == "L"
    assert "c.png: 20x16 (in colour; the net was trained on grey, so" in outcome.out
    assert "2 files skipped: not images, or damaged" in outcome.out
    outcome = cli("restore", trained, folder / "broken.png")
    assert outcome.code == 2
    assert outcome.err.startswith(f"Error: {folder / 'broken.png'}: not an image that can be read")


@pytest.mark.slow
def test_restore_imports_no_wandb_torchvision_or_matplotlib(trained, tmp_path):
    picture(tmp_path / "a.png", 14, 14)
    code = (
        "import sys; sys.argv = sys.argv[1:]\n"
        "from train import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'wandb', 'torchvision', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "train.py", "restore", trained, tmp_path / "a.png"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
