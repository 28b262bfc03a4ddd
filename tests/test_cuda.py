"""What CUDA computes is what the CPU computes, recorded in graphs or not; runs resume exactly.

Only where there is a CUDA device: ``python -m pytest -n 2 tests/test_cuda.py``.
"""

from __future__ import annotations

import pytest
import torch

from models.registry import NETS
from tests.adapters import Trainer
from tests.conftest import run_folder, summary_of
from tests.test_state import assert_stopped_twice_ends_as_left_alone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
STEPS = 3  # rounding grows with every step, the more so behind ReLU
TRAINED = [name for name, entry in NETS.items() if not entry.fitted]


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Float32 throughout: no TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "eager"])
@pytest.mark.parametrize("command", TRAINED)
def test_the_first_steps_are_those_of_the_cpu(command, graphs, tiny_data):
    """SGD: Adam would enlarge the rounding of gradients near 0."""
    options = {"batch_size": 16, "images": 16 * STEPS, "optimizer": "sgd", "lr": 0.01}
    if command == "classify":
        options["dropout"] = 0.0
    cpu = Trainer(command, tiny_data, **options)
    cuda = Trainer(command, tiny_data, device="cuda", cuda_graphs=graphs, **options)
    assert (cuda.real.trained_net is not cuda.real.net) == graphs, "recorded where asked for"
    for step in range(STEPS):
        wanted, found = (next(iter(t.train_step().values())) for t in (cpu, cuda))
        assert found == pytest.approx(wanted, rel=1e-3), f"step {step + 1}"
    assert cuda.validate() == pytest.approx(cpu.validate(), rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("command", ["resconv", "classify"])
def test_a_run_stopped_twice_equals_an_uninterrupted_one(command, tmp_path):
    options = {"device": "cuda", "precision": "auto", "deterministic": True}
    assert_stopped_twice_ends_as_left_alone(command, tmp_path, **options)


def test_a_net_that_cannot_be_described_is_trained_anyway(tiny_data, capfd):
    options = {"batch_size": 16, "images": 64, "checkpoint_activations": True}
    cpu = Trainer("resconv", tiny_data, **options)
    cuda = Trainer("resconv", tiny_data, device="cuda", **options)
    if cuda.real.trained_net is cuda.real.net:
        assert "no CUDA graphs: this net cannot be recorded" in capfd.readouterr().err
    for _ in range(4):
        assert cuda.train_step()["l1"] == pytest.approx(cpu.train_step()["l1"], rel=1e-2)


@pytest.mark.parametrize("method", ["knn", "ridge", "median"])
def test_baseline_metrics_on_cuda_equal_the_cpus(cli, method):
    figures = []
    for device in ("cpu", "cuda"):
        outcome = cli(
            "baseline", "--method", method, "--data", "garments", "--train-images", 300,
            "--val-images", 40, "--mode", "disabled", "--device", device,
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        figures.append(summary_of(run_folder(outcome))["last"])
    for name in ("val/l1", "val/l1_composite", "val/psnr", "val/ssim"):
        assert figures[1][name] == pytest.approx(figures[0][name], rel=1e-4), name


def test_bf16_and_graphs_keep_statistics_and_random_state(tiny_data):
    """Recording trains a few batches; nothing of that may stay."""
    torch.manual_seed(3)
    plain = Trainer("classify", tiny_data, device="cuda", cuda_graphs=False, precision="bf16")
    drawn = torch.cuda.get_rng_state()
    recorded = Trainer("classify", tiny_data, device="cuda", precision="bf16")
    assert torch.equal(torch.cuda.get_rng_state(), drawn)
    for name, value in plain.net.state_dict().items():
        assert torch.equal(recorded.net.state_dict()[name], value), name
