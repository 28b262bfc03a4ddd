"""Which way of computing a channel selection is fastest here: measured once, then remembered.

The ways round differently, so the choice is part of what a run must repeat to be bit-identical:
``remembered_ways`` and ``remember_ways`` let a checkpoint hold it, ``way=`` fixes it by hand, and
under ``torch.use_deterministic_algorithms(True)`` or ``torch.compile`` nothing is measured and
``fixed_way`` decides.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

WAYS = ("permute", "pointwise", "merged")
CLEARLY = 0.9  # of the fixed way's time, to be preferred to it
_ROUNDS = 4
_remembered: dict[str, str] = {}
_forced: str | None = None


def remembered_ways() -> dict[str, str]:
    """Every choice of this process so far, as plain text: layer and input -> way."""
    return dict(_remembered)


def remember_ways(ways: Mapping[str, str]) -> None:
    """Take over choices made earlier (from a checkpoint), in place of measuring again."""
    _remembered.update(ways)


@contextlib.contextmanager
def forced_way(way: str) -> Iterator[None]:
    """Every ``auto`` layer computes by ``way`` inside the ``with``; nothing is measured."""
    global _forced
    before, _forced = _forced, way
    try:
        yield
    finally:
        _forced = before


def fixed_way(layer: nn.Module, x: Tensor) -> str:
    """The way by rule, from ``bench conv``: strided depthwise convs are slow on CPU in bf16."""
    plain = layer.rank == 1 and layer.stride == (1, 1)
    return "pointwise" if x.device.type == "cpu" and plain else "merged"


def fastest_way(layer: nn.Module, x: Tensor) -> str:
    """The remembered way for this layer's geometry and this input, measured when first seen."""
    if _forced:
        return _forced
    if torch.compiler.is_compiling() or torch.are_deterministic_algorithms_enabled():
        return fixed_way(layer, x)
    key = _key(layer, x)
    way = _remembered.get(key)
    if way is None:
        way = _remembered[key] = _measure(layer, x)
    return way


def _dtype(x: Tensor) -> torch.dtype:
    """The type that convs compute in for ``x``: autocast's where it is on."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _key(layer: nn.Module, x: Tensor) -> str:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return (
        f"{type(layer).__name__} {layer.out_channels} {layer.kernel_size} {layer.stride} "
        f"{layer.padding} {layer.dilation} rank {layer.rank} | {tuple(x.shape)} {_dtype(x)} "
        f"{x.device} {'channels_last' if last else 'contiguous'} "
        f"{'grad' if torch.is_grad_enabled() else 'no grad'}"
    )


def _measure(layer: nn.Module, x: Tensor) -> str:
    """Time each way, forward and (with gradients on) backward, in turns; the least minimum wins.

    The fixed way keeps near ties, so that noise does not make two runs round differently.
    """
    sample = x.detach().requires_grad_(x.requires_grad)
    best = dict.fromkeys(WAYS, float("inf"))
    # Hooks of its own: activation checkpointing must not take these tensors for the layer's.
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        for round_ in range(_ROUNDS):
            for way in WAYS:
                seconds = _time(layer, sample, way)
                # The first round warms up: kernels are built and memory is taken in it.
                if round_ > 0:
                    best[way] = min(best[way], seconds)
    winner, fixed = min(best, key=best.__getitem__), fixed_way(layer, x)
    return winner if best[winner] < CLEARLY * best[fixed] else fixed


def _time(layer: nn.Module, sample: Tensor, way: str) -> float:
    def wait() -> None:
        if sample.device.type == "cuda":
            torch.cuda.synchronize(sample.device)

    wait()
    start = time.perf_counter()
    output = layer.compute(sample, way)
    if output.requires_grad:
        inputs = [p for p in (sample, *layer.parameters()) if p.requires_grad]
        torch.autograd.grad(output, inputs, torch.ones_like(output))
    wait()
    return time.perf_counter() - start
