"""What can be counted about a network: parameters, multiply-adds, one row a layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from common.media import Table
from models.fastest import forced_way


def parameter_count(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def multiply_adds(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-adds of convs and matrix products for one image of ``shape`` (c, h, w).

    A channel selection counts as published, two steps, however it is computed.
    """
    image = torch.zeros(1, *shape, device=next(model.parameters()).device)
    was_training = model.training
    model.eval()
    with torch.no_grad(), forced_way("pointwise"), FlopCounterMode(display=False) as counter:
        model(image)
    model.train(was_training)
    return counter.get_total_flops() // 2


def layer_rows(name: str, block: nn.Module) -> list[tuple[Any, ...]]:
    """(layer, kind, in, out, kernel, parameters) of each module in ``block`` with weights."""
    rows = []
    for path, module in block.named_modules(prefix=name):
        own = sum(p.numel() for p in module.parameters(recurse=False))
        if own:
            inputs = getattr(module, "in_channels", getattr(module, "num_features", None))
            outputs = getattr(module, "out_channels", inputs)
            kernel = getattr(module, "kernel_size", None)
            size = "x".join(map(str, kernel)) if isinstance(kernel, tuple) else kernel
            rows.append((path, type(module).__name__, inputs, outputs, size, own))
    return rows


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
    rows = layer_rows("", net)
    by_layer = getattr(net, "layer_receptive_fields", dict)()
    if by_layer:
        columns = (*columns, "receptive_field")
        rows = [(*row, by_layer.get(".".join(row[0].split(".")[:2]))) for row in rows]
    return stats, Table("params", columns, rows)
