"""The forms that options take, and the help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.train import train_command
from common.errors import InputError
from experiment.describe import explain
from experiment.settings import Settings
from tests.conftest import ROOT


def test_an_option_given_twice_is_refused():
    for names in (("batch-size", "batch_size"), ("batch_size", "batch-size")):
        with pytest.raises(InputError, match="batch_size: given twice"):
            Settings.parse("resconv", dict.fromkeys(names, 32))


def test_out_of_memory_names_only_options_of_the_command():
    text = str(explain(MemoryError(), "unet", Path("last.pt")))
    assert (
        text == "out of memory; lower --batch-size, --size, --width; last good checkpoint: last.pt"
    )
    text = str(explain(MemoryError(), "resconv", None))
    assert "--ch, --layers or use --checkpoint-activations; no checkpoint was written" in text


def parsed(*args: str) -> Settings:
    """What ``resconv`` would train with."""
    context = train_command("resconv").make_context("resconv", list(args))
    given = {k: v for k, v in context.params.items() if v is not None}
    return Settings.parse("resconv", given)


@pytest.mark.parametrize(
    ("args", "field", "value"),
    [
        (["--batch_size=32"], "batch_size", 32),
        (["--batch-size", "32"], "batch_size", 32),
        (["--bn_last=True"], "bn_last", True),
        (["--bn-last=False"], "bn_last", False),
        (["--bn-last"], "bn_last", True),
        (["--no-bn-last"], "bn_last", False),
        (["--no_bn_last"], "bn_last", False),
        (["--ks=3:9"], "ks", "3:9"),
        (["--ks", "5"], "ks", 5),
        (["--layers=3", "--ks=[3, 5, 7]"], "ks", "3,5,7"),
        (["--ch=16:128"], "ch", "16:128"),
        (["--act=LeakyReLU"], "act", "leakyrelu"),
        (["--act", "leaky_relu"], "act", "leakyrelu"),
        (["--bn_encoder=-"], "bn_encoder", "none"),
        (["--bn-decoder", "2"], "bn_decoder", "after-act"),
        (["--bn-decoder=1"], "bn_decoder", "after-conv"),
        (["--padding=None"], "padding", None),
        (["--padding=0"], "padding", 0),
        (["--size=32x48"], "size", "32x48"),
        (["--size=32x32"], "size", 32),
        (["--tags=a,b"], "tags", ["a", "b"]),
        (["--tags=['a', 'b']"], "tags", ["a", "b"]),
        (["--checkpoint-every=10m"], "checkpoint_every", "10m"),
        (["--loss=L2"], "loss", "l2"),
        (["--conv=select", "--rank=2", "--layers=3", "--ks=1,3,3"], "rank", 2),  # ends are full
    ],
)
def test_accepted_forms(args, field, value):
    assert parsed(*args).replace().flat()[field] == value


HEAVY = {"torch", "wandb", "torchvision", "numpy", "optuna", "matplotlib"}


def output_and_imports(*arguments: object) -> str:
    """What ``train.py`` prints, and the heavy modules that it imports."""
    code = (
        f"import sys\nsys.argv = ['train.py', *{[*map(str, arguments)]}]\nimport train\n"
        "try:\n    train.main()\nfinally:\n"
        f"    print('HEAVY', sorted({HEAVY} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_help_groups_the_options_and_imports_nothing_heavy():
    text = output_and_imports("resconv", "--help")
    groups = [f"{g} options:" for g in ("Model", "Data", "Training", "Hardware", "Tracking")]
    assert all(group in text for group in groups)
    assert "--ks N|A:B|A,B,…" in text
    assert "[default: 0.0003]" in text
    assert "HEAVY []" in text


def test_compare_imports_neither_torch_nor_wandb():
    text = output_and_imports("compare", "results/logbook/kernel-size-12800.csv")
    assert "kernel-size-12800" in text and "HEAVY ['numpy']" in text
