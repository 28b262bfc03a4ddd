"""The loop: its arithmetic, its schedules, and that a step never waits for the device."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from experiment.run import make_trainer
from experiment.settings import Settings
from experiment.stop import StopRequest
from tests.conftest import ROOT, TINY_OPTIONS, Rows, make_training, rows_of
from training import loop
from training import trainer as trainer_module
from training.distributed import DistributedContext
from training.hardware import Hardware, choose_hardware
from training.optimizers import learning_rate
from training.trainer import NonFiniteLoss

COMPILED = (
    pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs g++"),
    pytest.mark.slow,
)

# Eight channels are enough for Muon.
EVERY_LEVER = {"ch": 8, "optimizer": "muon", "clip_norm": 1.0, "decay": "weights"}


class Apart(DistributedContext):
    """A rank whose gradients and losses nobody averages."""

    def wrap_ddp(self, net: torch.nn.Module) -> torch.nn.Module:
        return net

    def mean(self, losses, images, batch_size):
        return losses


def test_the_ranks_average_is_the_gradient_of_the_whole_batch():
    """With parts of unequal size; without batch norm, whose statistics are each rank's own."""
    plain = {"bn_encoder": "none", "bn_decoder": "none", "precision": "fp32"}
    settings = Settings.parse("resconv", TINY_OPTIONS | plain)

    def gradients(rank: int, size: int) -> list[torch.Tensor]:
        trainer: Any = make_trainer(settings, choose_hardware(settings.hardware), Apart(rank, size))
        found: list[torch.Tensor] = []
        trainer.optimizer.register_step_pre_hook(
            lambda *_: found.extend(p.grad.clone() for p in trainer.net.parameters())
        )
        trainer.train_step()
        return found

    whole = gradients(0, 1)
    parts = zip(*(gradients(rank, 3) for rank in range(3)), strict=True)
    for expected, each in zip(whole, parts, strict=True):
        assert torch.allclose(torch.stack(each).mean(0), expected, rtol=1e-3, atol=1e-6)
        assert not torch.allclose(each[0], each[1], rtol=1e-3), "each rank has other images"


class Syncs(TorchDispatchMode):
    """Counts the operations that make the host wait for a value."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [{}, EVERY_LEVER])
def test_a_step_never_waits_for_the_device_and_an_interval_waits_once(options, monkeypatch):
    training = make_training(log_every=7, **options)
    reads: list[str] = []
    for name in ("tolist", "numpy", "cpu"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, *a, _name=name, _call=original, **k: (
                reads.append(_name),
                _call(self, *a, **k),
            )[1],
        )
    training.train_step()  # epoch plans and optimizer state are made once
    with Syncs() as syncs:
        for _ in range(5):
            training.train_step()
        assert (syncs.count, reads) == (0, [])
        training.train_step()
        training.train_step()
        training.read_row()
        # One for the losses of the interval, one for the watch over NaN.
        assert (syncs.count, reads) == (1, ["tolist"])


class PlainDescent(torch.optim.Optimizer):
    """Descent for tensors without values; the fused optimizers exist for real devices only."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__(model.parameters(), {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(parameter.grad, alpha=-group["lr"])


@pytest.mark.parametrize(
    ("command", "options"),
    [("resconv", {}), ("classify", {"conv": "select", "cutout": 8})],
)
def test_a_step_reads_no_tensor_value_and_mixes_no_devices(command, options, monkeypatch):
    """On meta tensors reading a value raises, and so does a sum with a CPU tensor."""
    monkeypatch.setattr(trainer_module, "make_optimizer", lambda _, net: PlainDescent(net))
    monkeypatch.setattr(Hardware, "autocast", lambda self: nullcontext())  # has no meta device
    given = TINY_OPTIONS | options if command == "resconv" else {"mode": "disabled"} | options
    hardware = Hardware(torch.device("meta"), torch.float32, compile=False)
    training: Any = make_trainer(Settings.parse(command, given), hardware)
    for _ in range(3):
        training.train_step()
    assert {p.device.type for p in training.net.parameters()} == {"meta"}
    for read in (training.meter.read, training.check_finite, training.validate):
        with pytest.raises((NotImplementedError, RuntimeError), match="meta tensor"):
            read()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("options", [{}, {"optimizer": "muon", "clip_norm": 1.0}])
def test_a_step_never_waits_for_cuda(options):
    training = make_training(device="cuda", ch=8, **options)
    training.train_step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            training.train_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_logged_losses_are_means_over_their_interval():
    steps = make_training(log_every=1)
    single = [row["train/l1"] for row in rows_of(steps)]
    assert len(single) == 8
    intervals = [row["train/l1"] for row in rows_of(make_training(log_every=3))]
    expected = [sum(single[:3]) / 3, sum(single[3:6]) / 3, sum(single[6:]) / 2]
    assert intervals == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        pytest.param({"layers": 1, "compile": True}, 1e-5, marks=COMPILED),
        ({"layers": 2, "checkpoint_activations": True}, 0),
        ({"layers": 3, "checkpoint_activations": True, "conv": "select"}, 1e-4),
        pytest.param(
            {"layers": 1, "checkpoint_activations": True, "compile": True}, 1e-5, marks=COMPILED
        ),
        ({"layers": 2, "precision": "bf16"}, 0.02),
    ],
)
def test_fast_layers_train_like_plain_ones(options, tolerance):
    base = {"precision": "fp32", "log_every": 1, "conv": options.get("conv", "full")}
    plain = rows_of(make_training(**base, layers=options["layers"]))
    found = rows_of(make_training(**base | options))
    assert any("val/l1" in row for row in plain)
    for name in ("train/l1", "val/l1"):
        expected = [row[name] for row in plain if name in row]
        assert [row[name] for row in found if name in row] == pytest.approx(
            expected, rel=tolerance, abs=0
        )


def test_channels_last_computes_what_the_plain_layout_computes():
    training = make_training(precision="fp32")
    inputs = training.task.prepare(training.stream.batch(0)).inputs
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    plain = training.task.build_net()
    plain.load_state_dict(training.net.state_dict())
    torch.testing.assert_close(
        training.net(inputs), plain(inputs.contiguous()), rtol=1e-5, atol=1e-6
    )


def test_a_checkpoint_between_two_rows_keeps_the_time_spent():
    training = make_training(log_every=100)
    states, stop = [], StopRequest()

    def keep() -> None:
        states.append(training.state())
        if len(states) == 3:
            stop.request("enough")

    recorder = Rows(keep)
    assert not loop.train(training, recorder, stop)
    assert recorder.rows == [] and training.step == 3
    seconds = [state["seconds"] for state in states]
    assert 0 < seconds[0] < seconds[1] < seconds[2] <= training.timer.seconds
    again = make_training()
    again.load_state(states[1])
    assert again.timer.seconds == seconds[1]


@pytest.mark.parametrize(
    "options", [{"optimizer": "adamw"}, {"optimizer": "adam"}, {"optimizer": "sgd"}, EVERY_LEVER]
)
def test_a_non_finite_loss_changes_no_weight(options):
    training = make_training(**options)
    for _ in range(2):
        training.train_step()
    kept = [p.detach().clone() for p in training.net.parameters()]
    task: Any = training.task
    losses = task.losses
    task.losses = lambda out, target: {k: v * math.inf for k, v in losses(out, target).items()}
    training.train_step()
    task.losses = losses
    training.train_step()
    assert all(torch.equal(a, b) for a, b in zip(kept, training.net.parameters(), strict=True))
    with pytest.raises(NonFiniteLoss, match=r"at step 3 of 8 \(learning rate 0\.000256\)"):
        training.check_finite()


def test_learning_rates():
    """The cosine is compared with PyTorch's in test_referee.py."""
    onecycle = [learning_rate("onecycle", 1.0, step, 100) for step in range(100)]
    assert onecycle[0] == pytest.approx(1 / 25)
    assert max(onecycle) == onecycle[30] == pytest.approx(1.0)
    assert onecycle[99] < 0.001
    assert learning_rate("constant", 0.1, 7, 10) == 0.1
    wsd = [learning_rate("wsd", 2.0, step, 100) for step in range(100)]
    assert wsd[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert wsd[4:61] == [2.0] * 57
    assert wsd[80] == pytest.approx(1.0) and wsd[99] == pytest.approx(0.05)
    assert learning_rate("wsd", 2.0, 65, 100, fall=0.7) == pytest.approx(1.0)


# In a process of its own: what other tests have done to the heap must not matter.
PAGES = """
import resource, torch
from training.hardware import choose_hardware
from training.settings import HardwareSettings
choose_hardware(HardwareSettings(device="cpu"))
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB: 16,384 pages
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_large_tensors_reuse_freed_memory():
    done = subprocess.run(
        [sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, cwd=ROOT
    )
    pages = list(map(int, done.stdout.split()))
    assert len(pages) == 12 and min(pages) < 1000
