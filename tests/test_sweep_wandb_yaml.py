"""The table of W&B's keys in docs/sweeps.md is whole; distributions and refusals hold."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from common.errors import InputError
from sweeps.parameters import DISTRIBUTIONS
from sweeps.sweep_file import REFUSED_KEYS, TOP_KEYS, parse_sweep

COMMAND = ["${env}", "${interpreter}", "${program}", "resconv", "${args}"]
BASE = {"method": "grid", "program": "train.py", "command": COMMAND, "metric": {"name": "val/l1"}}
LAYERS = {"layers": {"values": [1, 2]}}


def sweep_of(parameters=LAYERS, **keys):
    config = BASE | {"parameters": parameters} | keys
    return parse_sweep(Path("s.yaml"), {k: v for k, v in config.items() if v is not None})


def test_a_missing_command_is_inferred_from_the_parameters_and_sent():
    sweep = sweep_of(command=None)
    assert (sweep.command, sweep.config["command"]) == ("resconv", COMMAND)


@pytest.mark.parametrize("key", REFUSED_KEYS)
def test_unsupported_wandb_keys_are_refused_with_the_reason(key):
    with pytest.raises(InputError, match=f"s.yaml: {key}: .* not supported"):
        sweep_of(**{key: {}})


RANGES = {
    "uniform": ({"min": 0.1, "max": 0.3}, 0.2),
    "q_uniform": ({"min": 8, "max": 72, "q": 8}, 40),
    "int_uniform": ({"min": 1, "max": 9}, 5),
    "log_uniform": ({"min": math.log(0.01), "max": math.log(1.0)}, 0.1),
    "q_log_uniform": ({"min": math.log(10), "max": math.log(1000), "q": 10}, 100),
    "log_uniform_values": ({"min": 0.01, "max": 1.0}, 0.1),
    "q_log_uniform_values": ({"min": 10, "max": 1000, "q": 10}, 100),
    "inv_log_uniform": ({"min": math.log(1), "max": math.log(100)}, 0.1),
    "inv_log_uniform_values": ({"min": 0.01, "max": 1.0}, 0.1),
    "normal": ({"mu": 5, "sigma": 2}, 5),
    "q_normal": ({"mu": 50, "sigma": 20, "q": 10}, 50),
    "log_normal": ({"mu": 0, "sigma": 1}, 1),
    "q_log_normal": ({"mu": math.log(100), "sigma": 1, "q": 10}, 100),
}


@pytest.mark.parametrize("kind", RANGES)
def test_distributions_have_wandbs_median_bounds_and_quantum(kind):
    spec, median = RANGES[kind]
    parameter = sweep_of({"weight_decay": spec | {"distribution": kind}},
                         method="random", run_cap=2).parameters["weight_decay"]  # fmt: skip
    values = [parameter.at((i + 0.5) / 999) for i in range(999)]
    assert statistics.median(values) == pytest.approx(median)
    if "q" in spec:
        assert all(isinstance(v, int) and v % spec["q"] == 0 for v in values)
    if "min" in spec:
        bounds = [spec["min"], spec["max"]]
        if kind.endswith("log_uniform"):  # natural exponents
            bounds = sorted(math.exp(-b if kind.startswith("inv") else b) for b in bounds)
        assert bounds[0] <= min(values) * (1 + 1e-9) and max(values) <= bounds[1] * (1 + 1e-9)


def test_the_documented_table_has_every_key():
    text = (Path(__file__).parent.parent / "docs" / "sweeps.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for key in (*TOP_KEYS, *REFUSED_KEYS, *DISTRIBUTIONS, "probabilities", "target", "strict"):
        assert any(f"`{key}" in row for row in rows), f"docs/sweeps.md: a row for {key} is missing"
