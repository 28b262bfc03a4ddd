"""Optimizers by name, and the norm of the gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.profile import weights_and_others
from training.settings import TrainingSettings


def make_optimizer(settings: TrainingSettings, net: nn.Module) -> torch.optim.Optimizer:
    """The fused optimizer of the settings; betas 0.9 and 0.999 (logbook A), momentum 0.9."""
    parameters = list(net.parameters())
    if settings.decay == "weights":
        weights, others = weights_and_others(net)
        parameters = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, nesterov=True, **common)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.optimizer]
    return kind(parameters, **common)


def clip_gradients(net: nn.Module, limit: float) -> Tensor:
    """The norm of the whole gradient, a scalar on the device, from before the clipping.

    A gradient above ``limit`` is scaled down to it; 0 is no limit. No host-device sync.
    """
    parameters = [p for p in net.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if limit:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm
