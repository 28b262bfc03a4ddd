"""Optimizers and learning rates by name, and the norm of the gradient."""

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError
from training.muon import Muon, conv_kernels
from training.settings import TrainingSettings

WARM_UP = 0.3  # of the steps, one-cycle
RISE = 0.05  # of the steps, wsd
START, END = 1 / 25, 1e-4  # of the highest rate, one-cycle


def make_optimizer(settings: TrainingSettings, net: nn.Module) -> torch.optim.Optimizer:
    """The fused optimizer of the settings; betas 0.9 and 0.999 (logbook A), momentum 0.9.

    Raises ``InputError`` for Muon and a net without kernels for it.
    """
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "muon":
        kernels = conv_kernels(net)
        if not kernels:
            raise InputError("--optimizer muon: the net has no conv for it; use --optimizer adamw")
        groups = parameter_groups(settings, net, kernels)
        return Muon(groups, kernels, muon_lr=settings.muon_lr, **common)
    groups = parameter_groups(settings, net)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True, **common)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.optimizer]
    return kind(groups, **common)


def parameter_groups(
    settings: TrainingSettings, net: nn.Module, without: Collection[Tensor] = ()
) -> list[dict[str, Any]]:
    """The net's parameters except those in ``without``, by whether they decay.

    ``--decay weights``: matrices and kernels of layers, no biases, norms, slopes or scales.
    """
    excluded = set(without)
    parameters = [p for p in net.parameters() if p not in excluded]
    if settings.decay == "all":
        return [{"params": parameters}]
    layers = [
        m
        for m in net.modules()
        if type(m).__module__.startswith("torch.nn") or hasattr(m, "select")
    ]
    weights = {p for m in layers for p in m.parameters(recurse=False) if p.ndim > 1}
    decayed = [p for p in parameters if p in weights]
    others = [p for p in parameters if p not in weights]
    return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]


def clip_gradients(net: nn.Module, limit: float) -> Tensor:
    """The norm of the whole gradient, a scalar on the device, from before the clipping.

    A gradient above ``limit`` is scaled down to it; 0 is no limit. No host-device sync.
    """
    parameters = [p for p in net.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if limit:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


def learning_rate(
    scheduler: str, highest: float, step: int, steps: int, *, fall: float = 0.4
) -> float:
    """The rate of training step ``step`` of ``steps`` (from 0).

    ``cosine`` is CosineAnnealingLR to zero with T_max = ``steps`` (logbook A); ``onecycle``
    rises along a cosine for 30 % of the steps and falls along one after it; ``wsd`` rises
    linearly for 5 %, stays, and falls linearly to zero over the last ``fall`` of the steps.
    """
    if scheduler == "constant":
        return highest
    if scheduler == "cosine":
        return highest * _fall(step / steps)
    if scheduler == "wsd":
        return highest * min(1.0, (step + 1) / (RISE * steps), (steps - step) / (fall * steps))
    top = WARM_UP * steps
    if step < top:
        return highest * (1 - (1 - START) * _fall(step / top))
    return highest * (END + (1 - END) * _fall((step - top) / (steps - top)))


def _fall(t: float) -> float:
    """A half cosine from 1 at t = 0 to 0 at t = 1."""
    return 0.5 * (1 + math.cos(math.pi * t))
