"""Mean, spread over seeds, and whether two settings differ by more than it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

# Two-sided 5 % quantiles of Student's t for 1, 2, ... 30 degrees of freedom.
_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip

RULE = (
    "'beats next' compares each setting with the one ranked below it: yes if Welch's t-test over "
    "the seeds gives p < 0.05 for that pair alone, no if it does not; with one seed on either "
    "side it cannot be told."
)


@dataclass(frozen=True)
class Spread:
    """Mean over seeds; ``std`` is the sample standard deviation, None for one seed."""

    mean: float
    std: float | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def differ(a: Spread, b: Spread) -> bool | None:
    """Whether two means differ by Welch's t-test at 5 %; None if a side has one seed.

    The degrees of freedom (Welch-Satterthwaite) are rounded down, and above 30 the quantile of
    30 is used: both err towards "no difference".
    """
    if a.std is None or b.std is None:
        return None
    va, vb = a.std**2 / a.n, b.std**2 / b.n
    if va + vb == 0:
        return a.mean != b.mean
    freedom = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
    quantile = _T_975[min(max(int(freedom), 1), len(_T_975)) - 1]
    return abs(a.mean - b.mean) / math.sqrt(va + vb) > quantile
