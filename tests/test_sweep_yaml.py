"""The YAML of sweep files: what trips people up is read as they meant it, or named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InputError
from common.options import Integer
from sweeps.yaml_file import read_yaml


def content_of(text: str, encoding: str = "utf-8"):
    file = Path("test.yaml")
    file.write_text(text, encoding=encoding)
    return read_yaml(file)


def test_a_byte_order_mark_hides_neither_header_nor_first_key():
    content, header = content_of("# Question: why?\nmethod: grid\n", encoding="utf-8-sig")
    assert (content, header) == ({"method": "grid"}, "Question: why?")


def test_a_date_is_text():
    content, _ = content_of("project: 2026-11-25\nname: 2026-11-25 10:00:00\nrun_cap: 5\n")
    assert content == {"project": "2026-11-25", "name": "2026-11-25 10:00:00", "run_cap": 5}


def test_anchors_and_merges_are_followed():
    content, _ = content_of(
        "x-shared: &shared {value: 3}\nparameters:\n  ks: *shared\n  ch: {<<: *shared, value: 8}\n"
    )
    assert content["parameters"] == {"ks": {"value": 3}, "ch": {"value": 8}}


def test_several_yaml_documents_are_refused():
    assert content_of("---\nname: one\n---\n")[0] == {"name": "one"}
    with pytest.raises(InputError, match=r"2 YAML documents \(names: one, two\); .* one sweep"):
        content_of("name: one\n---\nname: two\n")


@pytest.mark.parametrize("text", ["", "---\n", "- a\n", "42\n"])
def test_yaml_that_is_not_a_mapping_is_refused(text):
    with pytest.raises(InputError, match="must be a W&B sweep definition"):
        content_of(text)


def test_integers_are_accepted_in_the_form_of_wandb_agent():
    read = Integer(1)
    assert [read("images", value) for value in (64, 64.0, "64", "64.0", " 64.00 ")] == [64] * 5
    for value in ("64.5", "6.4e1", "64.", ".0", 64.5, True):
        with pytest.raises(InputError, match="whole number"):
            read("images", value)
