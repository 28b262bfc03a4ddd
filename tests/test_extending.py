"""docs/extending.md holds: one of each is added by its entry alone and used by the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import IN_ONE_PROCESS, ROOT, outcomes, read_csv, summary_of

# What the five edits of docs/extending.md would write into their files.
ENTRIES = """
import dataclasses
from dataclasses import dataclass
from common.options import Integer, option
from data.registry import DATA_SETS
from models import registry
from models.net_entry import NetSettings, net
from tasks.metrics import RESTORATION, Metric
from tasks.registry import CORRUPTIONS, CorruptionEntry
from training.settings import TrainingSettings

@net("tiny", "added:Tiny", task="restoration")
@dataclass(frozen=True, kw_only=True)
class TinySettings(NetSettings):
    '''Train a tiny net.'''
    width: int = option(8, Integer(1, 512), "Channels.")

CORRUPTIONS["stripe"] = CorruptionEntry("added:Stripe", Integer(2, 100), "stripe:3")

def worst(outputs, targets, mask):
    per_image = (outputs - targets).abs().flatten(1).amax(1)
    return per_image, per_image.new_ones(len(per_image))

RESTORATION += [
METRIC
]
DATA_SETS["noise"] = "added:load"
"""


def blocks_of_the_document() -> list[str]:
    text = (ROOT / "docs" / "extending.md").read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def metric_of_the_document() -> str:
    [block] = [block for block in blocks_of_the_document() if block.startswith("def worst(")]
    [line] = [line for line in block.splitlines() if line.startswith("    Metric(")]
    return line


def classes_of_the_document() -> str:
    """The net and the corruption as docs/extending.md shows them, and its data set."""
    kept = [b for b in blocks_of_the_document() if b.startswith(("class ", "def load("))]
    assert len(kept) == 3
    kept[2] = kept[2].split('\n    "noise"')[0]
    return (
        "from __future__ import annotations\nimport torch\nfrom torch import Tensor, nn\n"
        "from data.images import Request, Source, Split\nfrom tasks.corruptions import Corruption\n"
        + "\n".join(kept)
    )


@pytest.fixture
def extended(tmp_path: Path):
    """``call(*commands)``: the command line where the five additions are made; what each printed.

    The commands share a process; the sweep's worker has one of its own.
    """
    (tmp_path / "added.py").write_text(classes_of_the_document())
    (tmp_path / "sitecustomize.py").write_text(ENTRIES.replace("METRIC", metric_of_the_document()))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])

    def call(*commands: tuple[object, ...]) -> list[str]:
        words = json.dumps([[str(word) for word in command] for command in commands])
        done = subprocess.run(
            [sys.executable, "-c", IN_ONE_PROCESS, words], capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": path}, timeout=240,
        )  # fmt: skip
        ended = outcomes(done.stdout)
        assert [outcome.code for outcome in ended] == [0] * len(commands), (ended, done.stderr)
        return [outcome.out for outcome in ended]

    return call


SWEEP = """
program: train.py
method: grid
metric: {name: val/worst, goal: minimize}
parameters:
  data: {value: noise}
  corruption: {value: "stripe:3"}
  images: {value: 64}
  batch_size: {value: 16}
  width: {values: [2, 4]}
command: ["${env}", "${interpreter}", "${program}", tiny, "${args}"]
"""


@pytest.mark.slow
def test_a_net_a_corruption_a_metric_a_data_set_and_an_option_are_added_by_their_entries(extended):
    Path("tiny.yaml").write_text(SWEEP)
    Image.effect_noise((33, 20), 60).save("photo.png")
    options = ["--data", "noise", "--corruption", "stripe:3", "--images", 64, "--batch-size", 16]
    trained = ["--width", 4, "--mode", "disabled", "--runs-dir", "one"]
    shown, _, _, compared, _ = extended(
        ("tiny", "--help"),
        ("tiny", *options, *trained),
        ("sweep", "tiny.yaml", "--mode", "disabled"),
        ("compare", "tiny.yaml", "--format", "json"),
        ("restore", "one/tiny-width4-*", "photo.png", "--erase", "left"),
    )
    assert "--width N" in shown
    [folder] = Path("one").iterdir()
    last = summary_of(folder)["last"]
    assert last["val/worst"] > last["val/l1"]
    shown = read_csv(folder / "tables" / "reconstructions.csv")
    assert {row["damage"] for row in shown} == {"every 3th row erased"}
    [table] = json.loads(compared)
    assert sorted(row["width"] for row in table["rows"]) == [2, 4]
    assert Image.open("photo-restored.png").size == (33, 20)
