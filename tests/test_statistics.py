"""Differences from the best setting: known values, rates of error and power by simulation."""

from __future__ import annotations

from random import Random

import pytest

from reports.statistics import LEVEL, from_best


def test_differences_from_the_best_against_known_values() -> None:
    """t = 2.4495 with 4 degrees of freedom is p = 0.0705 (unpaired), times 2 / 2 settings."""
    best, other = {0: 1.0, 1: 2.0, 2: 3.0}, {3: 3.0, 4: 4.0, 5: 5.0}
    none, found, lone = from_best([best, other, {0: 9.0}])
    assert none is None and lone is None and found is not None
    assert found.p == pytest.approx(0.0705, abs=1e-4)
    assert (found.mean, found.low) == (2.0, pytest.approx(2 - 2.2669, abs=1e-4))
    paired = from_best([{0: 1.0, 1: 5.0, 2: 9.0}, {0: 1.5, 1: 5.4, 2: 9.6}])[1]
    assert paired is not None and paired.p == pytest.approx(0.01307, abs=1e-4)
    exact = from_best([{0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0}])[1]
    assert exact is not None and exact.p == 0.0, "the same difference for each seed"


def _simulated(settings: int, step: float, seed_effect: float, trials: int) -> list[list[bool]]:
    """Which settings are called different from the best, in each of many simulated sweeps."""
    random = Random(1)
    answers = []
    for _ in range(trials):
        shared = [random.gauss(0, seed_effect) for _ in range(3)]
        values = [
            {seed: random.gauss(step * n, 1) + shared[seed] for seed in range(3)}
            for n in range(settings)
        ]
        values.sort(key=lambda each: sum(each.values()))
        answers.append([found is not None and found.p < LEVEL for found in from_best(values)])
    return answers


@pytest.mark.parametrize("seed_effect", [0, 3])
def test_equal_settings_are_called_different_in_at_most_5_percent_of_tables(seed_effect) -> None:
    answers = _simulated(8, 0, seed_effect, 200)
    assert sum(map(any, answers)) <= 18, "more than 5 % of 200, beyond chance (p < 0.01)"


def test_three_seeds_distinguish_different_settings_from_the_best() -> None:
    """24 settings, each one standard deviation of the seeds apart: of 24 neighbours a test of
    each pair alone found 0.3."""
    answers = _simulated(25, 1, 0, 20)
    assert sum(map(sum, answers)) / len(answers) > 20
