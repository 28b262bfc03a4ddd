"""A small sweep whose values are known without training, and damage to its journal."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from common.errors import InputError
from sweeps import owner
from sweeps.claims import Claims
from sweeps.study import Study
from sweeps.sweep_file import parse_sweep
from tests.faults.damage import damaged

SWEEP = {
    "name": "faults", "method": "grid", "program": "train.py",
    "command": ["${env}", "${interpreter}", "${program}", "resconv", "${args}"],
    "metric": {"name": "val/l1", "goal": "minimize"},
    "parameters": {"layers": {"values": [1, 2, 3, 4, 5, 6]}},
}  # fmt: skip


def study_in(folder: Path) -> Study:
    """The study of the sweep in ``folder``."""
    return Study(str(folder / "studies" / "a.journal"), parse_sweep(folder / "a.yaml", SWEEP))


def do_points(study: Study, done: Callable[[Any], object] = lambda report: None) -> None:
    """Claim every point and record its value; ``done`` gets each point's key and value."""
    study.enqueue_missing(retry_failed=True)
    claims = Claims(study)
    while claim := claims.next():
        value = claim.point.args["layers"] / 8
        assert claims.done(claim, value, {"folder": "f", "run_id": "r"})
        done((claim.point.key, value))


def assert_all_done(folder: Path) -> None:
    """Every point has its value, and was done once."""
    study = study_in(folder)
    found = {status.point.args["layers"]: status.value for status in study.statuses()}
    assert found == {layers: layers / 8 for layers in range(1, 7)}
    assert sum(trial.state.name == "COMPLETE" for trial in study.all_trials()) == 6


def restarted() -> Any:
    """``with``: the processes that claimed points are gone, as after a restart of the machine."""
    return mock.patch.object(owner, "is_gone", lambda owner: True)


def states(folder: Path) -> list[tuple[str, float | None]]:
    """State and value of every point."""
    return [(status.state, status.value) for status in study_in(folder).statuses()]


def journal_corruptions(count: int, seed: int, folder: Path) -> Counter[str]:
    """Damage the journal of a half-done sweep ``count`` times, then do the rest of it.

    Raises ``AssertionError`` where a study says what it never said, or a point is done twice.
    """
    chance, outcomes = random.Random(seed), Counter[str]()
    study = study_in(folder / "whole")
    study.enqueue_missing()
    claims = Claims(study)
    for number in range(5):  # three done, one failed, one running, one waiting
        claim = claims.next()
        assert claim
        if number < 3:
            claims.done(claim, claim.point.args["layers"] / 8, {"folder": "f", "run_id": "r"})
        elif number == 3:
            claims.failed(claim, "out of memory", {})
    whole = Path(study.where).read_bytes()
    lines = whole.splitlines(keepends=True)
    copy = folder / "copy"
    journal = copy / "studies" / "a.journal"
    with restarted():
        known = []  # what the study said after each of its lines
        for data in [b"".join(lines[:n]) for n in range(len(lines) + 1)]:
            journal.parent.mkdir(parents=True)
            journal.write_bytes(data)
            known.append(states(copy))
            shutil.rmtree(copy)
        for number in range(count):
            journal.parent.mkdir(parents=True)
            kind, data = damaged(whole, chance)
            if data is not None:
                journal.write_bytes(data)
            try:
                found = states(copy)
            except InputError as error:
                assert data != whole, f"false alarm: {error}"
                assert "\n" not in str(error), f"{kind}: more than one line: {error}"
                outcomes["journal refused"] += 1
            else:
                assert found in known, f"corruption {number}, {kind}: {found}"
                do_points(study_in(copy))
                assert_all_done(copy)
                outcomes["undamaged" if data == whole else "journal recovered"] += 1
            shutil.rmtree(copy)
    return outcomes
