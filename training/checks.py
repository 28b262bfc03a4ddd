"""A check of every training: each parameter learns."""

from collections.abc import Sequence

import torch
from torch import nn

from common.log import log

SHOWN = 5  # names in a warning


class LearningCheck:
    """Warns of parameters without a gradient in the first step, and of those that never move.

    Made before the first step of a run, read at the first validation; no sync in between.
    """

    def __init__(self, net: nn.Module) -> None:
        self.parameters = dict(net.named_parameters())
        self.start = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.without_gradient: list[str] | None = None

    def after_backward(self) -> None:
        """Note, in the first step, which parameters the loss does not depend on."""
        if self.without_gradient is None:
            self.without_gradient = [k for k, p in self.parameters.items() if p.grad is None]

    def report(self) -> None:
        """Warn, naming the parameters; one host-device sync."""
        missing = self.without_gradient or []
        if missing:
            log.warning(f"no gradient reaches {_listed(missing)}: they do not learn")
        names = [name for name in self.parameters if name not in missing]
        if names:
            moved = torch.stack([(self.parameters[k] != self.start[k]).any() for k in names])
            still = [k for k, m in zip(names, moved.tolist(), strict=True) if not m]
            if still:
                log.warning(
                    f"{_listed(still)} have not changed since the training began: left out of the "
                    "optimizer, or the learning rate is too low"
                )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
