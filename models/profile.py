"""Counts of a network: parameters, multiply-adds, one row a layer."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from common.media import Table


def parameter_count(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def multiply_adds(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-adds of convs and matrix products for one image of ``shape`` (c, h, w).

    A channel selection counts as published, two steps, whatever its implementation. FFTs and
    elementwise operations count nothing.
    """
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        if hasattr(module, "implementation"):
            module.implementation = "pointwise"  # pyright: ignore[reportArgumentType]
    example = next(net.parameters(), torch.zeros(()))
    image = torch.zeros(1, *shape, device=example.device, dtype=example.dtype)
    # The counter sees neither the fast path of nn.MultiheadAttention nor every fused attention.
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            net(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops() // 2


def layer_rows(net: nn.Module) -> list[tuple[Any, ...]]:
    """(layer, kind, in, out, kernel, parameters) of each module with parameters of its own.

    Parameters of the net itself have the layer ``(net)``; shared ones count where they are first
    used, so that the rows add up to all parameters.
    """
    rows, seen = [], set()
    for path, module in net.named_modules():
        own = {p for p in module.parameters(recurse=False) if p not in seen}
        seen |= own
        if own:
            inputs = _first(module, "in_channels", "in_features", "num_features")
            outputs = _first(module, "out_channels", "out_features") or inputs
            kernel = getattr(module, "kernel_size", None)
            size = "x".join(map(str, kernel)) if isinstance(kernel, tuple) else kernel
            count = sum(p.numel() for p in own)
            rows.append((path or "(net)", type(module).__name__, inputs, outputs, size, count))
    return rows


def _first(module: nn.Module, *names: str) -> Any:
    return next((found for name in names if (found := getattr(module, name, None))), None)


def describe(net: nn.Module, shape: tuple[int, ...]) -> tuple[dict[str, Any], Table]:
    """Counts of a net for inputs of ``shape`` [c h w], and the table of its layers.

    A net may have ``receptive_field()`` (pixels; None is the whole image),
    ``layer_receptive_fields()`` (by the name of a submodule), ``kernels`` and ``channels``.
    """
    stats: dict[str, Any] = {"parameters": parameter_count(net)}
    receptive_field = getattr(net, "receptive_field", None)
    if receptive_field:
        stats["receptive_field"] = receptive_field() or "whole image"
    if stats["parameters"]:  # a baseline computes nothing before it is fitted
        stats["multiply_adds"] = multiply_adds(net, shape)
    stats |= {name: getattr(net, name) for name in ("kernels", "channels") if hasattr(net, name)}
    columns = ("layer", "kind", "in", "out", "kernel", "parameters")
    rows = layer_rows(net)
    by_layer = getattr(net, "layer_receptive_fields", dict)()
    if by_layer:
        columns = (*columns, "receptive_field")
        rows = [(*row, by_layer.get(".".join(row[0].split(".")[:2]))) for row in rows]
    return stats, Table("params", columns, rows)
