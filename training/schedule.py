"""Learning rates as pure functions of the step: nothing to save, nothing to restore."""

import math

WARM_UP = 0.3  # of the steps, one-cycle
RISE = 0.05  # of the steps, wsd
START, END = 1 / 25, 1e-4  # of the highest rate, one-cycle


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
