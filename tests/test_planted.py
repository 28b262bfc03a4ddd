"""The planted errors still fit the code; ``python -m tests.planted`` plants them."""

from tests.conftest import ROOT
from tests.planted.__main__ import EDITS


def test_every_planted_error_applies_once():
    assert len(EDITS) == 20
    for edit in EDITS:
        text = (ROOT / edit["file"]).read_text(encoding="utf-8")
        assert text.count(edit["old"]) == 1, f"{edit['name']}: mend tests/planted/edits.json"
