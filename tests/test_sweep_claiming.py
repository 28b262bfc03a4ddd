"""Claiming costs the same at the end of a large sweep as at its start."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from sweeps.claims import Claims
from sweeps.study import Study
from sweeps.sweep_file import read_sweep

pytestmark = pytest.mark.slow
FILE = """\
name: large
method: grid
program: train.py
command: ["${env}", "${interpreter}", "${program}", resconv, "${args}"]
metric: {name: val/l1, goal: minimize}
parameters:
  seed: {min: 1, max: POINTS}
"""


def claim_seconds(points: int) -> tuple[float, float]:
    """Train nothing: mean CPU time to claim and record a point, in the first and last tenth.

    The disk's own time (7 fsyncs a point) is left out: it depends on what else the machine does.
    """
    Path("large.yaml").write_text(FILE.replace("POINTS", str(points)))
    study = Study(f"large-{points}.journal", read_sweep(Path("large.yaml")))
    claims, seconds = Claims(study), []
    study.enqueue_missing()
    while True:
        start = time.process_time()
        claim = claims.next()
        if claim is None:
            study.enqueue_missing()
            claim = claims.next()
            if claim is None:
                break
        claims.done(claim, 0.5, {"folder": "f", "run_id": "r"})
        seconds.append(time.process_time() - start)
    assert len(seconds) == points
    tenth = points // 10
    return sum(seconds[:tenth]) / tenth, sum(seconds[-tenth:]) / tenth


def test_the_last_claims_of_a_sweep_cost_what_the_first_do():
    first, last = claim_seconds(1000)
    assert last < 3 * first, (first, last)


if __name__ == "__main__":  # python -m tests.test_sweep_claiming 10000
    first, last = claim_seconds(int(sys.argv[1]))
    print(f"CPU time a point: {first * 1000:.2f} ms at the start, {last * 1000:.2f} ms at the end")
