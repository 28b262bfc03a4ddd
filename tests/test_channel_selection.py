"""Channel selection: its implementations agree, its counts, replacing it in a model."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils import prune

from models.channel_selection import (
    IMPLEMENTATIONS,
    ChannelSelectionConv2d,
    ChannelSelectionConvTranspose2d,
    Replaced,
    replace_convs,
    to_plain_convs,
)
from models.classifiers import SmallResNet, build_classifier
from models.layers import GELU
from models.profile import layer_rows, multiply_adds
from models.resconv import ResConv

small = st.integers(1, 4)


@st.composite
def geometries(draw):
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    rank = draw(st.integers(1, kernel[0] * kernel[1]))
    pairs = {name: draw(st.tuples(*[st.integers(low, 2)] * 2))
             for name, low in (("stride", 1), ("padding", 0), ("dilation", 1))}  # fmt: skip
    return draw(small), draw(small), kernel, rank, draw(st.booleans()), pairs


@settings(max_examples=60, deadline=None)
@given(
    geometry=geometries(),
    size=st.tuples(st.integers(7, 11), st.integers(7, 11)),
    batch=st.integers(1, 3),
    transposed=st.booleans(),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_implementations_agree_forward_and_backward(
    geometry, size, batch, transposed, channels_last, seed
):
    inputs, outputs, kernel, rank, bias, pairs = geometry
    torch.manual_seed(seed)
    kind = ChannelSelectionConvTranspose2d if transposed else ChannelSelectionConv2d
    layer = kind(inputs, outputs, kernel, **pairs, bias=bias, rank=rank, dtype=torch.float64)
    assert sum(p.numel() for p in layer.parameters()) == rank * (
        inputs * outputs + outputs * kernel[0] * kernel[1]
    ) + (outputs if bias else 0)
    x = torch.randn(batch, inputs, *size, dtype=torch.float64, requires_grad=True)
    fed = x.contiguous(memory_format=torch.channels_last) if channels_last else x

    plain = nn.ConvTranspose2d if transposed else nn.Conv2d
    dense: Any = plain(inputs, outputs, kernel, **pairs, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        weight = torch.einsum("roi,rohw->oihw", layer.select, layer.kernel)
        dense.weight.copy_(weight.transpose(0, 1) if transposed else weight)
        if bias:
            dense.bias.copy_(layer.bias)
    expected = dense(fed)
    push = torch.randn_like(expected)
    results = []
    for implementation in IMPLEMENTATIONS:
        output = layer.compute(fed, implementation)
        torch.testing.assert_close(output, expected, rtol=1e-11, atol=1e-11)
        results.append(torch.autograd.grad((output * push).sum(), [x, *layer.parameters()]))
    for gradients in results[1:]:
        torch.testing.assert_close(gradients, results[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("conv", "count"), [("full", 174_787), ("select", 27_363)])
def test_small_net_has_the_published_count(conv, count):
    net = build_classifier(model="small", classes=3, shape=(3, 32, 32), rank=int(conv == "select"))
    assert sum(p.numel() for p in net.parameters()) == count
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 3)


def test_a_torchvision_net_gets_the_layer():
    pytest.importorskip("torchvision")
    net = build_classifier(model="squeezenet1_1", classes=4, shape=(3, 32, 32), rank=3)
    layers = [m for m in net.modules() if isinstance(m, ChannelSelectionConv2d)]
    assert {layer.rank for layer in layers} == {1, 3}  # 1x1 convs can have rank 1 only


def test_resnet18_has_the_published_parameter_counts():
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        net = torchvision.models.resnet18()
    assert sum(p.numel() for p in net.parameters()) == 11_689_512
    done = replace_convs(net, bias=True)
    assert (done.replaced, done.skipped) == (20, 0)
    assert sum(p.numel() for p in net.parameters()) == 1_958_824


@pytest.mark.parametrize(
    ("net", "size", "count"),
    [
        (SmallResNet(), (3, 32, 32), 14),
        (ResConv(layers=4, ch=8, rank=2, stride=2), (1, 20, 20), 6),  # four of them transposed
    ],
)
def test_export_is_the_same_net_without_the_layer(net, size, count):
    if isinstance(net, SmallResNet):
        replace_convs(net.blocks, rank=2)
    plain = copy.deepcopy(net.eval())
    assert to_plain_convs(plain) == Replaced(count, 0)
    assert not any("ChannelSelection" in type(m).__name__ for m in plain.modules())
    x = torch.rand(2, *size)
    if isinstance(net, SmallResNet):
        assert torch.equal(plain(x), net(x))
    torch.testing.assert_close(plain(x), net(x), rtol=1e-5, atol=1e-6)


def test_a_wrong_shape_raises_with_the_expected_shape():
    layer = ChannelSelectionConv2d(3, 5, 3)
    with pytest.raises(ValueError, match=r"\[n 3 h w\], got \[2, 4, 8, 8\]"):
        layer(torch.randn(2, 4, 8, 8))


def test_auto_follows_a_fixed_rule():
    x = torch.randn(2, 3, 8, 8)
    for rank, stride, implementation in ((1, 1, "pointwise"), (2, 1, "merged"), (1, 2, "merged")):
        layer = ChannelSelectionConv2d(3, 5, 3, rank=rank, stride=stride)
        assert torch.equal(layer(x), layer.compute(x, implementation))


def test_multiply_adds_are_those_of_the_published_layer():
    layer = ChannelSelectionConv2d(3, 5, 3, padding=1, rank=2)
    net = nn.Sequential(layer, nn.BatchNorm2d(5).eval())
    assert multiply_adds(net, (3, 4, 4)) == 16 * 2 * (15 + 45)
    assert layer.implementation == "auto"
    assert [m.training for m in net.modules()] == [True, True, False]


def test_multiply_adds_and_rows_of_a_vision_transformer_are_complete():
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        net = torchvision.models.vit_b_16()
    assert round(multiply_adds(net, (3, 224, 224)) / 1e9, 2) == 17.56  # as torchvision publishes
    assert torch.backends.mha.get_fastpath_enabled()
    rows = layer_rows(net)
    assert sum(row[-1] for row in rows) == sum(p.numel() for p in net.parameters())
    assert ("(net)", "VisionTransformer", None, None, None, 768) in rows


class OtherConv(nn.Conv2d):
    """A subclass, whose forward pass may do anything."""


def conv(**options) -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1, **options)


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda *args: None)
    return module


def with_tensor_hook(module: nn.Conv2d) -> nn.Conv2d:
    module.weight.register_hook(lambda gradient: gradient)
    return module


def patched(module: nn.Module) -> nn.Module:
    module.forward = lambda x: x
    return module


IRREPLACEABLE = {
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(conv()),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(conv()),
    "old spectral norm": lambda: nn.utils.spectral_norm(conv()),
    "pruned": lambda: prune.l1_unstructured(conv(), "weight", amount=0.5),
    "hook": lambda: hooked(conv()),
    "hook of a tensor": lambda: with_tensor_hook(conv()),
    "patched": lambda: patched(conv()),
    "subclass": lambda: OtherConv(4, 4, 3),
    "lazy": lambda: nn.LazyConv2d(4, 3),
    "transposed": lambda: nn.ConvTranspose2d(4, 4, 3),
    "grouped": lambda: nn.Conv2d(4, 4, 3, groups=2),
    "reflecting": lambda: nn.Conv2d(4, 4, 3, padding_mode="reflect"),
    "1-D": lambda: nn.Conv1d(4, 4, 3),
    "3-D": lambda: nn.Conv3d(4, 4, 3),
}


@pytest.mark.parametrize("kind", IRREPLACEABLE)
def test_layers_that_cannot_be_converted_are_skipped_and_counted(kind):
    layer = IRREPLACEABLE[kind]()
    net = nn.Sequential(conv(), layer)
    assert replace_convs(net) == Replaced(1, 1)
    assert net[1] is layer
    assert isinstance(net[0], ChannelSelectionConv2d)


def test_convs_with_shared_weights_are_skipped():
    net = nn.Sequential(conv(), conv(), conv())
    net[1].weight = net[0].weight
    assert replace_convs(net) == Replaced(1, 2)
    assert net[1].weight is net[0].weight


def test_frozen_and_shared_layers_are_preserved_in_both_directions():
    frozen, half_frozen = conv().requires_grad_(False), conv()
    dict(half_frozen.named_parameters())["bias"].requires_grad_(False)
    wide = nn.Conv2d(4, 4, 1, bias=False, dtype=torch.float64)
    net = nn.Sequential(frozen, half_frozen, frozen, wide)
    states = [[p.requires_grad for p in layer.parameters()] for layer in net]
    assert replace_convs(net) == Replaced(3, 0)
    assert net[0] is net[2]
    assert not any(p.requires_grad for p in net[0].parameters())
    assert net[1].select.requires_grad and not net[1].bias.requires_grad
    assert net[3].select.dtype == torch.float64
    assert to_plain_convs(net) == Replaced(3, 0)
    assert net[0] is net[2]
    assert [[p.requires_grad for p in layer.parameters()] for layer in net] == states


def test_a_selection_with_hooks_or_shared_weights_is_not_exported():
    net = nn.Sequential(*(ChannelSelectionConv2d(4, 4, 3) for _ in range(4)))
    net[1].select = net[0].select
    hooked(net[2])
    assert to_plain_convs(net) == Replaced(1, 3)
    with pytest.raises(ValueError, match=r"to_conv\(\)"):
        to_plain_convs(net[2])
    with pytest.raises(ValueError, match="is a conv"):
        replace_convs(conv())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"stride": 0}, "stride must be at least 1, got 0, 0"),
        ({"stride": (1, -1)}, "stride must be at least 1, got 1, -1"),
        ({"kernel_size": 0}, "kernel_size must be"),
        ({"dilation": 0}, "dilation must be"),
        ({"in_channels": 0}, "in_channels must be"),
        ({"padding": -1}, "padding must be 0 or more, 'same' or 'valid', got "),
        ({"padding": "all"}, "padding must be 0 or more, 'same' or 'valid', got 'all'"),
        ({"padding": "same", "stride": 2}, "needs a stride of 1"),
        ({"rank": 0}, "from 1 to 9 for a 3x3 kernel, got 0"),
        ({"rank": 10}, "from 1 to 9 for a 3x3 kernel, got 10"),
        ({"implementation": "quick"}, "permute, pointwise, merged"),
    ],
)
def test_an_impossible_argument_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        ChannelSelectionConv2d(**{"in_channels": 3, "out_channels": 4, "kernel_size": 3} | wrong)


def test_a_transposed_selection_takes_no_padding_by_name():
    with pytest.raises(ValueError, match="padding must be 0 or more, got 'same'"):
        ChannelSelectionConvTranspose2d(3, 4, 3, padding="same")


def selection(implementation: str) -> nn.Module:
    layer = ChannelSelectionConv2d(3, 4, 3, padding=1, rank=2, implementation=implementation)
    return nn.Sequential(nn.Conv2d(1, 3, 1), layer, GELU())


@pytest.mark.parametrize(
    "make",
    [
        *(functools.partial(selection, name) for name in IMPLEMENTATIONS),
        *(functools.partial(ResConv, layers=3, ch=4, rank=rank) for rank in (0, 1)),
        functools.partial(ResConv, layers=3, ch=4, stride=2, rank=2),
    ],
    ids=[*IMPLEMENTATIONS, "resconv", "rank 1", "strided"],
)
def test_per_sample_gradients_trace_and_export(make):
    net = make().eval()
    x = torch.rand(2, 1, 12, 12)

    def loss(parameters, image):
        return functional_call(net, parameters, (image[None],)).square().sum()

    per_sample = vmap(grad(loss), in_dims=(None, 0))(dict(net.named_parameters()), x)
    loss(dict(net.named_parameters()), x[0]).backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(per_sample[name][0], parameter.grad, rtol=1e-4, atol=1e-5)
    traced: Any = torch.jit.trace(net, x)
    torch.testing.assert_close(traced(x), net(x))
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
