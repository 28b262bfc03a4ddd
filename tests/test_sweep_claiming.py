"""Claiming costs the same at the end of a large sweep as at its start."""

from __future__ import annotations

import os
import sys
import tempfile
import time

import pytest

from tests.small_sweeps import HEAD, RESULT, next_claim, open_study

pytestmark = pytest.mark.slow


def claim_seconds(points: int) -> tuple[float, float]:
    """Train nothing: mean CPU time to claim and record a point, in the first and last tenth.

    The disk's own time (7 fsyncs a point) is left out: it depends on what else the machine does.
    """
    study, claims = open_study(f"name: mini\n{HEAD}  seed: {{min: 1, max: {points}}}\n")
    seconds = []
    for _ in range(points):
        start = time.process_time()
        claim = claims.next()
        if claim is None:
            study.enqueue_missing()
            claim = next_claim(claims)
        claims.done(claim, 0.5, RESULT)
        seconds.append(time.process_time() - start)
    tenth = points // 10
    return sum(seconds[:tenth]) / tenth, sum(seconds[-tenth:]) / tenth


def test_the_cost_of_a_claim_does_not_grow():
    first, last = claim_seconds(1000)
    assert last < 3 * first, (first, last)


if __name__ == "__main__":  # python -m tests.test_sweep_claiming 10000
    os.chdir(tempfile.mkdtemp())
    first, last = claim_seconds(int(sys.argv[1]))
    print(f"CPU time a point: {first * 1000:.2f} ms at the start, {last * 1000:.2f} ms at the end")
