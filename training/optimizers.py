"""Optimizers by name."""

from __future__ import annotations

import torch
from torch import nn

from training.settings import TrainingSettings


def make_optimizer(settings: TrainingSettings, net: nn.Module) -> torch.optim.Optimizer:
    """The fused optimizer of the settings; betas 0.9 and 0.999 (logbook A), momentum 0.9."""
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(net.parameters(), momentum=0.9, nesterov=True, **common)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.optimizer]
    return kind(net.parameters(), **common)
