"""The benchmarks run and write what they promise. No time is asserted."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys

import pytest
import torch

from benchmarks.textbook import use_conv_transpose
from models.resconv import ResConv
from tests.conftest import ROOT, read_csv

pytestmark = pytest.mark.slow

TINY = {
    "textbook": "--layers 1 --ks 3 --batch-size 4 --turn 1",
    "ablation": "--layers 1 --batch-size 4 --turn 1 --large 16",
    "memory": "--layers 3 --size 16 --batch-size 8",
    "tracking": "--layers 1 --images 64 --val-images 4",
}


@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_writes_its_table(name, tmp_path):
    arguments = f"{TINY[name]} --rounds 1 --device cpu --out {tmp_path}".split()
    if name == "tracking":  # W&B remembers a server as long as its process lives
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    else:
        importlib.import_module(f"benchmarks.{name}").main(arguments, standalone_mode=False)
    rows = read_csv(tmp_path / f"{name}.csv")
    page = (tmp_path / f"{name}.md").read_text()
    assert f"torch {torch.__version__}" in page
    assert len([line for line in page.splitlines() if line.startswith("|")]) == len(rows) + 2
    for column, base in {"times_textbook": 0, "times_as_long": 0, "times_disabled": 0}.items():
        assert float(rows[base].get(column, 1)) == 1
    if name == "memory":
        kept = {row["variant"]: float(row["of_fp32"]) for row in rows}
        assert kept["bf16"] == pytest.approx(0.5, abs=0.03)
        assert kept["fp32, --checkpoint-activations"] < 0.5


def test_the_textbook_net_computes_the_same():
    torch.manual_seed(0)
    net = ResConv(layers=3, ks="5:3", ch=4).eval()
    x = torch.rand(2, 1, 12, 12)
    expected = net(x)
    use_conv_transpose(net)
    assert sum(isinstance(m, torch.nn.ConvTranspose2d) for m in net.modules()) == 3
    torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-6)


def test_breakdown_groups_the_errors_that_the_runs_recorded(tmp_path, capsys):
    from benchmarks.breakdown import main
    from experiment.run import run
    from experiment.settings import Settings

    values = {"data": "garments", "train_images": 300, "val_images": 40, "runs_dir": tmp_path}
    values |= {"mode": "disabled", "device": "cpu"}
    commands = {"mlp": {"images": 128}, "baseline": {"method": "mean"}}
    results = [
        run(Settings.parse(c, values | more), observer=lambda row: None)
        for c, more in commands.items()
    ]
    (results[0].folder / "checkpoints" / "best.pt").unlink()  # the last weights count
    main([*(str(r.folder) for r in results), "--out", str(tmp_path)], standalone_mode=False)
    rows = {row.pop("group"): row for row in read_csv(tmp_path / "breakdown.csv")}
    for result in results:
        column = {name: float(row[result.summary["name"]]) for name, row in rows.items()}
        sides = [column[f"{side} erased"] for side in ("left", "right", "top", "bottom")]
        expected = result.summary["last"]["val/l1_composite"]
        assert column["all"] == pytest.approx(expected, abs=1e-5)
        assert sum(sides) / 4 == pytest.approx(expected, abs=2e-5)
    assert int(rows["all"]["images"]) == 40 and int(rows["left erased"]["images"]) == 10


def test_denoise_scores_nets_and_methods_on_the_same_images(tmp_path, monkeypatch):
    from benchmarks import denoise
    from experiment.run import run
    from experiment.settings import Settings

    values = {"data": "garments", "train_images": 300, "val_images": 40, "runs_dir": tmp_path}
    values |= {"mode": "disabled", "device": "cpu", "images": 128, "corruption": "noise:50"}
    result = run(Settings.parse("mlp", values), observer=lambda row: None)
    shifted = {"shifted": (lambda image, sigma, strength: image + strength, [0.9, 0.0, 0.5])}
    monkeypatch.setattr(denoise, "METHODS", shifted)
    rows = {row[2]: row[3:] for row in denoise.rows_of([result.folder], 40)}
    found = result.summary["best"]
    assert rows[result.summary["name"]] == (
        None, pytest.approx(found["val/psnr"], abs=0.01), pytest.approx(found["val/ssim"], abs=1e-4)
    )  # fmt: skip
    assert rows["shifted"] == (0.0, *rows["nothing"][1:])
    assert rows["nothing"][1] == pytest.approx(20 * math.log10(255 / 50), abs=2)
