"""Mean and spread over seeds, and which settings are distinguishable from the best one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev, variance
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.05
UNEQUAL = 0.01  # Bartlett's p below which the settings' variances are not pooled

RULE = (
    "'differs from best': yes if the difference from the best setting is larger than the spread "
    "between seeds explains (t-test on the pooled spread, paired by seed where all settings have "
    "the same seeds; Holm's correction for the number of settings and for having chosen the best; "
    "error rate 5 % for the whole table). 'from best' gives the difference with the 95 % interval "
    "of that pair alone."
)


@dataclass(frozen=True)
class Spread:
    """Mean over seeds; ``std`` is the sample standard deviation, None for one seed."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Difference:
    """A setting's mean minus the best one's, its 95 % interval, and the corrected p-value."""

    mean: float
    low: float
    high: float
    p: float


def number(value: Any) -> Any:
    """The mean of a spread or difference; any other value as it is."""
    return value.mean if isinstance(value, (Spread, Difference)) else value


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)


def seed_spread(settings: Sequence[Mapping[Any, float]]) -> float:
    """Standard deviation between seeds, pooled over settings; 0 if none has two seeds."""
    freedom = sum(len(values) - 1 for values in settings) or 1
    within = (variance(v.values()) * (len(v) - 1) for v in settings if len(v) > 1)
    return math.sqrt(sum(within) / freedom)


def from_best(settings: Sequence[Mapping[Any, float]]) -> list[Difference | None]:
    """Compare each of ``settings`` (values by seed) with the first, the best one.

    None for the best itself, and wherever one of the two has a single seed.
    """
    several = [i for i, values in enumerate(settings) if len(values) > 1]
    if len(several) < 2 or several[0] != 0:
        return [None] * len(settings)
    best, pooled = settings[0], _pooled([settings[i] for i in several])
    found: dict[int, Difference] = {}
    for i in several[1:]:
        error, freedom = pooled or _pair(best, settings[i])
        if pooled:
            error *= math.sqrt(1 / len(best) + 1 / len(settings[i]))
        mean = fmean(settings[i].values()) - fmean(best.values())
        half = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
        p = 2 * float(stats.t.sf(abs(mean) / error, freedom)) if error else float(mean == 0)
        found[i] = Difference(mean, mean - half, mean + half, p)
    # Holm's correction, times half the number of settings that the best was chosen from.
    least = 0.0
    for rank, i in enumerate(sorted(found, key=lambda i: found[i].p)):
        factor = max(1.0, (len(found) - rank) * len(several) / 2)
        least = max(least, min(1.0, found[i].p * factor))
        found[i] = replace(found[i], p=least)
    return [found.get(i) for i in range(len(settings))]


def _pooled(settings: Sequence[Mapping[Any, float]]) -> tuple[float, float] | None:
    """Standard deviation of one value and its degrees of freedom, pooled over all settings.

    Where all settings have the same seeds, what a seed does to all of them alike is left out
    (randomised blocks). None where the variances clearly differ.
    """
    spreads = [variance(values.values()) for values in settings]
    if len(set(spreads)) > 1:
        groups = (list(values.values()) for values in settings)
        if min(spreads) == 0 or stats.bartlett(*groups).pvalue <= UNEQUAL:
            return None
    seeds = list(settings[0])
    if any(set(values) != set(seeds) for values in settings):
        freedom = sum(len(values) - 1 for values in settings)
        return seed_spread(settings), freedom
    values = np.array([[each[seed] for seed in seeds] for each in settings])
    residuals = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    freedom = (len(settings) - 1) * (len(seeds) - 1)
    return math.sqrt((residuals**2).sum() / freedom), freedom


def _pair(a: Mapping[Any, float], b: Mapping[Any, float]) -> tuple[float, float]:
    """Standard error of the difference of two means and its degrees of freedom, for this pair."""
    if set(a) == set(b):
        return stdev(b[seed] - a[seed] for seed in a) / math.sqrt(len(a)), len(a) - 1
    parts = [(variance(v.values()) / len(v), len(v) - 1) for v in (a, b)]
    total = sum(part for part, _ in parts)
    return math.sqrt(total), total**2 / sum(part**2 / n for part, n in parts) if total else 1.0
