"""Identities: stable over added options, changed by defaults, known to old journals."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from experiment import settings as settings_module
from experiment.identity import identity, legacy_identity
from experiment.settings import Settings, options_of
from models.registry import NETS

GOLDEN = json.loads((Path(__file__).parent / "golden" / "identities.json").read_text())
IDS = [f"{case['command']} {case['values']}" for case in GOLDEN]
MESSAGE = (
    "an identity changed, so finished runs would be trained again: an added option needs a neutral "
    "value that keeps the old behaviour, a new default goes into option(..., default=...)"
)


@pytest.mark.parametrize("case", GOLDEN, ids=IDS)
def test_golden_identities(case):
    settings = Settings.parse(case["command"], case["values"])
    assert identity(settings) == case["identity"], MESSAGE
    assert legacy_identity(settings) == case["legacy"], "journals of 73bab81 name points by it"


def with_option(monkeypatch: pytest.MonkeyPatch, **fields: tuple[type, Any]) -> None:
    """Add options to the net of ``resconv``, as an edit of its settings class would."""
    entry = NETS["resconv"]
    cls = dataclasses.make_dataclass(
        "Longer",
        [(name, kind, option) for name, (kind, option) in fields.items()],
        bases=(entry.settings,),
        frozen=True,
        kw_only=True,
    )
    monkeypatch.setitem(NETS, "resconv", dataclasses.replace(entry, settings=cls))


def test_an_added_option_changes_no_identity_and_a_used_one_does(monkeypatch):
    values = {"ks": "3:9", "seed": 4}
    before = identity(Settings.parse("resconv", values))
    with_option(monkeypatch, width=(int, settings_module.option(7, int_reader, "Width.")))
    assert "width" in options_of("resconv")
    assert identity(Settings.parse("resconv", values)) == before
    assert identity(Settings.parse("resconv", values | {"width": 8})) != before
    assert legacy_identity(Settings.parse("resconv", values | {"width": 8})) is None


def int_reader(name: str, value: Any) -> int:
    return int(value)


def test_a_changed_default_and_a_changed_meaning_change_the_identity(monkeypatch):
    before = identity(Settings.parse("resconv", {}))
    given = identity(Settings.parse("resconv", {"layers": 12}))
    option = settings_module.option(11, int_reader, "Layers.", default=12)
    with_option(monkeypatch, layers=(int, option))
    assert identity(Settings.parse("resconv", {})) == given != before
    assert identity(Settings.parse("resconv", {"layers": 11})) == before
    option = settings_module.option(11, int_reader, "Layers, counted anew.", version=2)
    with_option(monkeypatch, layers=(int, option))
    assert identity(Settings.parse("resconv", {})) not in (before, given)


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"device": "cuda:1"}, {"name": "x", "tags": "a", "notes": "b", "group": "c"},
        {"runs_dir": "/x", "resume": "auto", "checkpoint_every": "10m"}, {"log_every": 7},
        {"mode": "disabled", "project": "p", "entity": "e"}, {"data_root": "/x"}, {"rank": 1},
    ],
)  # fmt: skip
def test_run_folder_and_name_do_not_change_the_identity(elsewhere):
    assert identity(Settings.parse("resconv", elsewhere)) == identity(Settings.parse("resconv", {}))


def test_rank_matters_only_for_channel_selections():
    def of(**values: Any) -> str:
        return identity(Settings.parse("resconv", values))

    assert of(conv="full", rank=4) == of()
    assert of(conv="select", rank=4) != of(conv="select")
