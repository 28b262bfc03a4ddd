"""The layer: one function, several ways; its counts; swapping it in and out of a model."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from common.errors import InputError
from models import fastest
from models.channel_selection import (
    ChannelSelectionConv2d,
    ChannelSelectionConvTranspose2d,
    replace_convs,
    to_plain_convs,
)
from models.classifiers import build_classifier
from models.fastest import WAYS
from models.profile import multiply_adds
from models.resconv import ResConv
from models.resnet import SmallResNet

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
def test_ways_are_the_same_function_forward_and_backward(
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
    dense = plain(inputs, outputs, kernel, **pairs, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        weight = torch.einsum("roi,rohw->oihw", layer.select, layer.kernel)
        dense.weight.copy_(weight.transpose(0, 1) if transposed else weight)
        if bias:
            dense.bias.copy_(layer.bias)
    expected = dense(fed)
    push = torch.randn_like(expected)
    results = []
    for way in WAYS:
        output = layer.compute(fed, way)
        torch.testing.assert_close(output, expected, rtol=1e-11, atol=1e-11)
        results.append(torch.autograd.grad((output * push).sum(), [x, *layer.parameters()]))
    for gradients in results[1:]:
        torch.testing.assert_close(gradients, results[0], rtol=1e-10, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(inputs=small, outputs=small, kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_full_rank_reproduces_any_dense_conv(inputs, outputs, kernel):
    height, width = kernel
    dense = nn.Conv2d(inputs, outputs, kernel, padding=1, dtype=torch.float64)
    layer = ChannelSelectionConv2d(
        inputs, outputs, kernel, padding=1, rank=height * width, dtype=torch.float64
    )
    with torch.no_grad():
        layer.bias.copy_(dense.bias)
        # Rank r holds position r of the kernel: one tap each.
        layer.select.copy_(dense.weight.flatten(2).permute(2, 0, 1))
        taps = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
        layer.kernel.copy_(taps.expand_as(layer.kernel))
    x = torch.randn(2, inputs, 6, 7, dtype=torch.float64)
    for way in WAYS:
        torch.testing.assert_close(layer.compute(x, way), dense(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("conv", "count"), [("full", 174_787), ("select", 27_363)])
def test_small_net_has_the_published_count(conv, count):
    net = build_classifier(model="small", classes=3, shape=(3, 32, 32), conv=conv)
    assert sum(p.numel() for p in net.parameters()) == count
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 3)


def test_a_torchvision_net_gets_the_layer_and_wrong_ones_are_named():
    pytest.importorskip("torchvision")
    build = functools.partial(build_classifier, classes=4, shape=(3, 32, 32), conv="select")
    net = build("squeezenet1_1", rank=3)
    layers = [m for m in net.modules() if isinstance(m, ChannelSelectionConv2d)]
    assert {layer.rank for layer in layers} == {1, 3}  # 1x1 convs can have rank 1 only
    for name, rank, words in (
        ("resnet81", 1, "Did you mean 'resnet18'"),
        ("small", 10, "--rank 10: must be from 1 to 9"),
        ("alexnet", 1, "cannot take 3x32x32 images"),
    ):
        with pytest.raises(InputError, match=words):
            build(name, rank=rank)


def test_resnet18_has_the_published_counts():
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        net = torchvision.models.resnet18()
    assert sum(p.numel() for p in net.parameters()) == 11_689_512
    done = replace_convs(net, bias=True)
    assert (done.replaced, done.left) == (20, 0)
    assert sum(p.numel() for p in net.parameters()) == 1_958_824


def test_replace_leaves_grouped_and_reflecting_convs_alone():
    shared = nn.Conv2d(4, 4, 3, padding="same", dtype=torch.float64)
    net = nn.Sequential(
        shared, nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, padding_mode="reflect"), shared
    )
    done = replace_convs(net, rank=4)
    assert (done.replaced, done.left) == (1, 2)
    assert net[0] is net[3]
    assert net[0].select.dtype == torch.float64
    assert net[0].rank == 4
    with pytest.raises(ValueError, match="itself a conv"):
        replace_convs(shared)


def test_export_is_the_same_net_without_the_layer():
    net = SmallResNet().eval()
    replace_convs(net.blocks, rank=2, way="merged")
    plain = copy.deepcopy(net)
    assert to_plain_convs(plain) == 14
    assert not any(isinstance(m, ChannelSelectionConv2d) for m in plain.modules())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(plain(x), net(x))


def test_transposed_selections_are_exported_too():
    net = ResConv(layers=4, ch=8, rank=2, stride=2).eval()
    plain = copy.deepcopy(net)
    assert to_plain_convs(plain) == 6
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in plain.modules()) == 4
    x = torch.rand(2, 1, 20, 20)
    torch.testing.assert_close(plain(x), net(x), rtol=1e-5, atol=1e-6)


def test_wrong_shapes_and_ranks_say_what_was_expected():
    layer = ChannelSelectionConv2d(3, 5, 3)
    with pytest.raises(ValueError, match=r"\[n 3 h w\], got \[2, 4, 8, 8\]"):
        layer(torch.randn(2, 4, 8, 8))
    for rank in (0, 10):
        with pytest.raises(ValueError, match=rf"from 1 to 9 for a 3x3 kernel, got {rank}"):
            ChannelSelectionConv2d(3, 5, 3, rank=rank)
    with pytest.raises(ValueError, match="permute, pointwise, merged"):
        ChannelSelectionConv2d(3, 5, 3, way="quick")


def test_the_automatic_choice_is_made_once_and_can_be_carried_over(monkeypatch):
    monkeypatch.setattr(fastest, "_remembered", {})
    layer, x = ChannelSelectionConv2d(3, 5, 3), torch.randn(2, 3, 8, 8)
    state = torch.get_rng_state()
    layer(x)
    assert torch.equal(state, torch.get_rng_state())
    assert layer.select.grad is None
    ((key, way),) = fastest.remembered_ways().items()
    assert way in WAYS

    other = next(w for w in WAYS if w != way)
    fastest.remember_ways({key: other})
    monkeypatch.setattr(fastest, "_measure", lambda *a: pytest.fail("measured again"))
    assert torch.equal(layer(x), layer.compute(x, other))
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(layer(x), layer.compute(x, fastest.fixed_way(layer, x)))
    finally:
        torch.use_deterministic_algorithms(False)


def test_multiply_adds_are_those_of_the_published_layer_and_measure_nothing(monkeypatch):
    monkeypatch.setattr(fastest, "_measure", lambda *a: pytest.fail("measured"))
    layer = ChannelSelectionConv2d(3, 5, 3, padding=1, rank=2)
    assert multiply_adds(nn.Sequential(layer), (3, 4, 4)) == 16 * 2 * (15 + 45)
