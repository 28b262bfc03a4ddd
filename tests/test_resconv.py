"""The ResConv network against the logbook's facts and against PyTorch's own layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from experiment.settings import Settings
from models.layers import GELU, Deconv
from models.profile import parameter_count
from models.registry import ACTIVATIONS, BN_POSITIONS
from models.resconv import ResConv, receptive_fields
from tests.conftest import ROOT, read_csv

PUBLISHED = ROOT / "reports" / "published" / "resconv.csv"


def published_settings(row: dict[str, str]) -> dict[str, Any]:
    names = ("size", "layers", "ks", "ch", "residual_weight", "bn_encoder", "bn_decoder", "act")
    options = {name: row[name] for name in names} | {"bn_last": row["bn_last_layer"] == "yes"}
    return Settings.parse("resconv", options).net.arguments()


def test_every_published_parameter_count_is_met_to_the_unit():
    rows = read_csv(PUBLISHED)
    counts = [parameter_count(ResConv(**published_settings(r))) for r in rows]
    assert counts == [int(row["parameters"]) for row in rows]
    assert len(rows) == 113


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [
        ((11, 11), 1, None),
        ((28, 28), 1, 0),
        ((13, 30), 1, 2),
        ((29, 12), 2, None),
        ((31, 45), 3, 1),
    ],
)
def test_the_output_has_the_size_of_the_input_and_lies_in_the_unit_interval(size, stride, padding):
    net = ResConv(image_channels=3, layers=2, ks="5:3", ch=8, stride=stride, padding=padding)
    output = net(torch.rand(2, 3, *size))
    assert output.shape == (2, 3, *size)
    assert output.min() >= 0
    assert output.max() <= 1


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_a_decoder_conv_with_stride_1_is_a_transposed_conv(padding):
    deconv = Deconv(6, 4, 3, stride=1, padding=padding, groups=2, rank=0).double()
    x = torch.rand(2, 6, 9, 7, dtype=torch.float64)
    weight, bias = deconv.conv.get_parameter("weight"), deconv.conv.get_parameter("bias")
    kernel = weight.view(2, 2, 3, 3, 3).transpose(1, 2).reshape(6, 2, 3, 3).flip(2, 3)
    expected = F.conv_transpose2d(x, kernel, bias, padding=padding, groups=2)
    torch.testing.assert_close(deconv(x, expected.shape[-2:]), expected, rtol=0, atol=1e-12)
    bound = 1 / (2 * 9) ** 0.5  # nn.ConvTranspose2d's start, from its output channels
    assert bound * 0.8 < weight.abs().max() <= bound


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gelu_is_pytorchs_in_values_gradients_and_layout(layout):
    x = (3 * torch.randn(2, 8, 5, 7)).contiguous(memory_format=layout)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    output, expected = GELU()(ours), nn.GELU()(theirs)
    assert output.is_contiguous(memory_format=layout)
    (output**2).sum().backward()
    (expected**2).sum().backward()
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("encoder", BN_POSITIONS)
@pytest.mark.parametrize("decoder", BN_POSITIONS)
def test_each_pair_of_batch_norm_positions_trains_a_step(encoder, decoder):
    net = ResConv(layers=3, ch=4, bn_encoder=encoder, bn_decoder=decoder, bn_last=True)
    x = torch.rand(4, 1, 12, 12)
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    F.l1_loss(net(x), x).backward()
    optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert sum(moved) > len(moved) / 2


def dependencies(net: ResConv, size: int) -> int:
    """The largest extent of input pixels with a gradient, over a period of output pixels."""
    net.double()
    for layer in (*net.encoder, *net.decoder):
        layer.act = nn.Identity()
    for parameter in net.parameters():
        parameter.data.abs_().add_(0.01)  # nothing cancels
    image = torch.rand(1, 1, size, 140, dtype=torch.float64, requires_grad=True)
    output = net(image)[0, 0].sum(1)
    middle = size // 2
    extents = [0]
    for pixel in range(middle, middle + net.stride ** len(net.encoder)):
        (gradient,) = torch.autograd.grad(output[pixel], image, retain_graph=True)
        rows = gradient[0, 0].sum(1).nonzero()
        extents.append(int(rows.max() - rows.min() + 1) if len(rows) else 0)
    return max(extents)


@settings(max_examples=25, deadline=None)
@example(stride=4, kernels=[7, 3], padding=None, residual_weight=1.0)
@example(stride=4, kernels=[7, 3], padding=None, residual_weight=0.0)
@given(
    stride=st.integers(1, 4),
    kernels=st.lists(st.sampled_from([1, 3, 5, 7]), min_size=1, max_size=3),
    padding=st.sampled_from([None, 0]),
    residual_weight=st.sampled_from([0.0, 0.5]),
)
def test_the_receptive_field_is_how_far_gradients_reach(stride, kernels, padding, residual_weight):
    net = ResConv(
        layers=len(kernels), ks=",".join(map(str, kernels)) if len(kernels) > 1 else kernels[0],
        ch=1, stride=stride, padding=padding,
        residual_weight=residual_weight, bn_encoder="none", bn_decoder="none",
    )  # fmt: skip
    assert net.receptive_field() == dependencies(net, size=800)


def test_the_receptive_field_of_a_deep_strided_net_is_computed_quickly():
    fields = receptive_fields([3] * 200, 8, [1] * 200)
    assert len(fields) == 400
    assert fields[:2] == [3, 19]


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_recomputed_activations_change_no_output_gradient_or_statistic(act):
    nets = []
    for saving in (False, True):
        torch.manual_seed(0)
        net = ResConv(layers=3, ch=4, act=act, bn_last=True, checkpoint_activations=saving)
        x = torch.rand(4, 1, 12, 12)
        for _ in range(2):
            net(x).square().mean().backward()
        nets.append((net, net(x)))
    (plain, output), (saving, same) = nets
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad) and a.grad.isfinite().all()
    learning = [bool(parameter.grad.any()) for parameter in plain.parameters()]
    assert sum(learning) > len(learning) / 2
    for a, b in zip(plain.buffers(), saving.buffers(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(output, same)


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": 0},
        {"stride": 0},
        {"stride": -1},
        {"image_channels": 0},
        {"groups": 0},
        {"bn_encoder": "0"},
        {"bn_decoder": "x"},
        {"act": "foo"},
        {"padding": 3},
    ],
)
def test_an_invalid_argument_is_reported_with_its_value(wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value!r}"):
        ResConv(**wrong)


@pytest.mark.parametrize("stride", [1, 2])
def test_all_convs_but_the_outer_ones_are_channel_selections_of_the_rank(stride):
    net = ResConv(layers=3, ch=6, rank=2, stride=stride, bn_encoder="none", bn_decoder="none")
    outer = (6 * 9 + 6) + (6 * 9 + 1)
    inner = 4 * (2 * (6 * 6 + 6 * 9) + 6)
    assert parameter_count(net) == outer + inner


def test_grouped_selections_are_refused():
    with pytest.raises(ValueError, match=r"groups must be 1 for a channel selection .*, got 2"):
        ResConv(groups=2, rank=1)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\[n 1 h w\], got \[2, 3, 28, 28\]"):
        ResConv(layers=1)(torch.rand(2, 3, 28, 28))
