"""A running average of the weights (power-function average, Karras et al., arXiv 2312.02696)."""

from __future__ import annotations

import copy

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """``net``: a copy of the trained net, in evaluation mode, whose weights are the average.

    The weights after step t count in proportion to a power of t, such that their mean age is
    the share ``age`` of the steps so far. So the initial weights, which an exponential average
    carries along, never count. Batch statistics are averaged likewise: each belongs to the
    weights that it was measured with.
    """

    def __init__(self, net: nn.Module, age: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.power = 1 / age - 1
        average, trained = self.net.state_dict().values(), net.state_dict().values()
        self.average = [tensor for tensor in average if tensor.is_floating_point()]
        self.trained = [tensor for tensor in trained if tensor.is_floating_point()]

    def update(self, step: int) -> None:
        """Add the weights after ``step`` steps, counted from 1. No host-device sync."""
        kept = (1 - 1 / step) ** self.power
        get_ema_multi_avg_fn(kept)(self.average, self.trained, step)
