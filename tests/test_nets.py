"""The restoration nets through the registry: counts, shapes, gradients, and the command line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from experiment.settings import Settings
from models.profile import parameter_count
from models.registry import NETS
from tasks.restoration import build_net
from tasks.settings import RestorationSettings
from tests.conftest import run_folder
from training.optimizers import make_optimizer
from training.settings import TrainingSettings

TRAINED = [n for n, entry in NETS.items() if entry.task == "restoration" and not entry.fitted]
SMALL = {
    "resconv": {"layers": 2, "ch": 8},
    "unet": {"width": 8},
    "rednet": {"layers": 3, "width": 8},
    "convnext": {"layers": 2, "width": 8, "kernel": 3},
    "nafnet": {"width": 8, "blocks": 1},
    "fourier": {"layers": 2, "width": 8},
    "vit": {"layers": 2, "width": 16},
    "mlp": {"layers": 1, "width": 16},
}
COUNTS = {
    "resconv": 186_787, "unet": 837_489, "rednet": 665_921, "convnext": 511_012,
    "nafnet": 476_577, "fourier": 175_297, "vit": 674_416, "mlp": 469_264,
}  # fmt: skip


def make(command: str, channels: int = 1, size=(28, 28), **options: Any) -> Any:
    settings = Settings.parse(command, SMALL[command] | options)
    assert isinstance(settings.task, RestorationSettings)
    torch.manual_seed(0)
    return build_net(command, settings.net, settings.task, channels, size)


def test_every_registered_net_has_a_test():
    assert TRAINED == list(SMALL) == list(COUNTS)


@pytest.mark.parametrize("command", TRAINED)
def test_the_parameters_at_the_default_settings(command):
    settings = Settings.parse(command, {})
    assert isinstance(settings.task, RestorationSettings)
    net = build_net(command, settings.net, settings.task, 1, (28, 28))
    assert parameter_count(net) == COUNTS[command]


def block(i: int, o: int) -> int:
    """Parameters of U-Net's block: two batch norms, two convs without bias, a shortcut."""
    return 2 * i + 9 * i * o + 2 * o + 9 * o * o + (i * o if i != o else 0)


# Parameters for i input and o output channels at the settings of SMALL, with 8 = width.
FORMULAS = {
    "unet": lambda i, o: (
        9 * i * 8 + block(8, 8) + block(16, 16) + 9 * 8 * 16 + 9 * 16 * 28 + 2 * block(28, 28)
        + (2 * 28 + 4 * 28**2 + 28) + (28 * 16 + 16) + (16 * 8 + 8) + block(32, 16) + block(16, 8)
        + 2 * 8 + o * (9 * 8 + 1)
    ),
    "rednet": lambda i, o: 8 * (9 * i + 1) + 4 * 8 * (9 * 8 + 1) + o * (9 * 8 + 1),
    "convnext": lambda i, o: (
        8 * (4 * i + 1) + 2 * (8 * 10 + 16 + 24 * 9 + 8 * 25) + 16 + 4 * o * 9
    ),
    "nafnet": lambda i, o: (
        8 * (9 * i + 1) + sum(7 * c * c + 33 * c for c in (8, 16, 32, 16, 8))
        + (4 * 8 * 16 + 16) + (4 * 16 * 32 + 32) + 32 * 64 + 16 * 32 + o * (9 * 8 + 1)
    ),
    "fourier": lambda i, o: (
        8 * (9 * i + 1) + 2 * (16 + 9 * 8 * 4 + 8 * 4 + 8 * 8 + 16 + 8 * 9) + 16 + o * (9 * 8 + 1)
    ),
    "vit": lambda i, o: (
        16 * (16 * i + 1) + 2 * (4 * 16 + 4 * 16 * 17 + 64 * 17 + 16 * 65) + 32 + 16 * o * 17
    ),
    "mlp": lambda i, o: 16 * (784 * i + 1) + 32 + 784 * o * 17,
}  # fmt: skip


@pytest.mark.parametrize("command", FORMULAS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_parameters_follow_a_formula(command, channels):
    net = make(command, channels, mask_input=True, coordinates=True)
    assert parameter_count(net) == FORMULAS[command](channels + 3, channels)


def test_a_mixer_adds_its_parameters_and_tells_positions_apart():
    net = make("unet", size=(17, 22), mixer=True).eval()
    more = 3 * (2 * 28 + 30 * (60 + 1) + 60 * (30 + 1))  # 28 channels, 5x6 positions after padding
    assert parameter_count(net) == parameter_count(make("unet")) + more
    # Of a grey image all inner positions are alike to convs and attention.
    middle = torch.full((1, 28, 5, 6), 0.5)
    mixed = net.middle[0](middle)
    assert mixed.shape == middle.shape and len(mixed[0, 0].unique()) == 30
    with pytest.raises(ValueError, match=r"must be 17x22, got \[1, 1, 28, 28\]"):
        net(torch.rand(1, 1, 28, 28))


@pytest.mark.parametrize("command", TRAINED)
@pytest.mark.parametrize(("channels", "size"), [(1, (28, 28)), (3, (17, 22))])
def test_any_size_in_is_the_size_out_and_wrong_channels_are_named(command, channels, size):
    net = make(command, channels, size, mask_input=True, coordinates=True).eval()
    outputs = net(torch.rand(2, channels + 3, *size))
    assert outputs.shape == (2, channels, *size)
    assert outputs.min() >= 0 and outputs.max() <= 1
    with pytest.raises(ValueError, match=rf"\[n {channels + 3} h w\], got \[2, 2, 28, 28\]"):
        net(torch.rand(2, 2, 28, 28))


@pytest.mark.parametrize("command", TRAINED)
def test_a_gradient_reaches_every_parameter_and_steps_lower_the_loss(command):
    net = make(command, size=(12, 12))
    targets = torch.rand(8, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    losses, touched = [], set()
    for _ in range(12):
        loss = (net(targets * (targets > 0.3)) - targets).abs().mean()
        loss.backward()
        # The gates of nafnet start at zero and open the way for the rest after the first step.
        touched |= {n for n, p in net.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert touched == {name for name, _ in net.named_parameters()}
    assert losses[-1] < losses[0] * 0.98


@pytest.mark.parametrize("command", TRAINED)
def test_the_stated_receptive_field_is_how_far_gradients_reach(command):
    net = make(command, size=(64, 64)).double().eval()
    image = torch.rand(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    for parameter in net.parameters():  # no gradient may vanish by an accident of signs
        parameter.data.add_(0.01 * torch.rand_like(parameter))
    fields = []
    for pixel in range(28, 36):
        (gradient,) = torch.autograd.grad(net(image)[0, 0, pixel, pixel], image)
        rows = gradient[0, 0].abs().sum(1).nonzero()
        fields.append(int(rows.max() - rows.min() + 1))
    stated = net.receptive_field()
    assert max(fields) == (64 if stated is None else stated)


@pytest.mark.parametrize("command", ["unet", "convnext"])
def test_channel_selection_takes_the_place_of_convs(command):
    full, select = (parameter_count(make(command, conv=conv)) for conv in ("full", "select"))
    assert full != select


@pytest.mark.parametrize("command", [name for name in TRAINED if name != "resconv"])
def test_each_net_trains_and_restores_by_the_command_line(command, cli, tmp_path):
    options = [f"--{name}={value}" for name, value in SMALL[command].items()]
    outcome = cli(
        command, "--data", "garments", "--train-images", 64, "--val-images", 20, "--images", 64,
        "--batch-size", 16, "--mode", "disabled", *options,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    folder = run_folder(outcome)
    for name, size in (("same", (28, 28)), ("large", (70, 45))):
        Image.effect_noise(size, 60).save(tmp_path / f"{name}.png")
        outcome = cli("restore", folder, tmp_path / f"{name}.png", "--erase", "right")
        assert outcome.code == 0, outcome.err
        assert Image.open(tmp_path / f"{name}-restored.png").size == size
    Image.effect_noise((20, 20), 60).save(tmp_path / "small.png")
    outcome = cli("restore", folder, tmp_path / "small.png", "--erase", "right")
    fixed = command == "mlp"
    assert (outcome.code, outcome.err.count("\n")) == ((2, 1) if fixed else (0, 0)), outcome.err


@pytest.mark.parametrize("command", TRAINED)
def test_weight_decay_excludes_biases_norms_slopes_and_scales(command):
    more: dict[str, Any] = {"act": "prelu", "conv": "select"} if command == "resconv" else {}
    net = make(command, **more)
    settings = TrainingSettings(weight_decay=0.3, decay="weights")
    decayed, spared = make_optimizer(settings, net).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    names = {p: name for name, p in net.named_parameters()}
    assert {*decayed["params"], *spared["params"]} == {*names}
    assert all(p.ndim > 1 for p in decayed["params"])
    spared_names = [names[p] for p in spared["params"] if p.ndim > 1]
    assert all(name.endswith(("beta", "gamma")) for name in spared_names)
    groups = make_optimizer(TrainingSettings(), net).param_groups
    assert [len(group["params"]) for group in groups] == [len(names)]
