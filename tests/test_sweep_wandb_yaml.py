"""W&B's sweep YAML as people write it: every key of docs/sweeps.md's table, one case each."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from common.errors import InputError
from experiment.identity import identity
from experiment.settings import Settings
from sweeps.parameters import DISTRIBUTIONS
from sweeps.sweep_file import REFUSED_KEYS, TOP_KEYS, parse_sweep

COMMAND = ["${env}", "${interpreter}", "${program}", "resconv", "${args}"]
BASE = {"method": "grid", "program": "train.py", "command": COMMAND, "metric": {"name": "val/l1"}}
LAYERS = {"layers": {"values": [1, 2]}}


def sweep_of(parameters=LAYERS, **keys):
    config = BASE | {"parameters": parameters} | keys
    return parse_sweep(Path("s.yaml"), {k: v for k, v in config.items() if v is not None})


@pytest.mark.parametrize(
    "command",
    [
        ["${env}", "python3", "${program}", "resconv", "${args}"],
        ["python", "train.py", "resconv", "${args}"],
        ["/usr/bin/env", "python", "-u", "${program}", "resconv", "${args}"],
        ["${env}", "${interpreter}", "${program}", "resconv", "${args_no_boolean_flags}"],
        ["${env}", "${interpreter}", "${program}", "resconv", "${args_no_hyphens}"],
        ["${env}", "${interpreter}", "${program}", "resconv", "${args_json}"],
    ],
)
def test_every_form_of_command_runs_the_same_points(command):
    sweep = sweep_of(command=command)
    assert [p.key for p in sweep.grid()] == [p.key for p in sweep_of().grid()]
    assert sweep.config["command"][-1] == "${args}", "train.py takes options with hyphens"


def test_options_in_the_command_belong_to_every_point(monkeypatch):
    monkeypatch.setenv("SIZE", "12")
    extra = ["--images=640", "--bn-last", "--lr", "0.01", "--size=${envvar:SIZE}"]
    sweep = sweep_of(command=[*COMMAND[:4], *extra, "${args}"])
    point = sweep.grid()[0]
    assert point.key == identity(Settings.parse("resconv", {
        "images": 640, "bn_last": True, "lr": 0.01, "size": 12, "layers": 1,
    }))  # fmt: skip
    assert "--images=640" in point.command("resconv")
    assert sweep.config["command"] == [*COMMAND[:4], *extra, "${args}"]
    monkeypatch.delenv("SIZE")
    with pytest.raises(InputError, match="environment variable SIZE is not set"):
        sweep_of(command=[*COMMAND[:4], *extra, "${args}"])
    with pytest.raises(InputError, match="--layers is in command and in parameters"):
        sweep_of(command=[*COMMAND[:4], "--layers=3", "${args}"])
    with pytest.raises(InputError, match="command: leyers: not an option"):
        sweep_of(command=[*COMMAND[:4], "--leyers=3", "${args}"])


def test_without_a_command_the_one_that_fits_is_meant_and_sent():
    sweep = sweep_of(command=None)
    assert (sweep.task, sweep.config["command"]) == ("resconv", COMMAND)
    with pytest.raises(InputError, match=r"its parameters fit resconv, .*; write command:"):
        sweep_of({"lr": {"values": [0.1, 0.2]}}, command=None, metric=None)


def test_metric_without_goal_absent_and_with_a_target():
    assert (sweep_of().metric, sweep_of().goal) == ("val/l1", "minimize")
    assert sweep_of(metric={"name": "val/psnr"}).config["metric"]["goal"] == "maximize"
    assert sweep_of(metric=None).metric == "val/l1"
    assert sweep_of(metric={"name": "val/l1", "target": 0.05}).target == 0.05
    with pytest.raises(InputError, match=r"goal maximize: val/l1 is to minimize"):
        sweep_of(metric={"name": "val/l1", "goal": "maximize"})


def test_text_keys_private_keys_hyphens_lists_and_nested_parameters():
    sweep = sweep_of(
        {"batch-size": {"value": 16}, "net": {"parameters": {"ks": {"values": [[3, 5], 3]}}},
         "layers": {"value": 2}},
        name=2026, tags=["a", 1], **{"x-shared": {"anything": 1}},
    )  # fmt: skip
    assert sweep.name == "2026" and sweep.config["tags"] == ["a", "1"]
    assert "x-shared" not in sweep.config and set(sweep.parameters) == {
        "batch_size",
        "ks",
        "layers",
    }
    keys = [identity(Settings.parse("resconv", {"batch_size": 16, "layers": 2, "ks": ks}))
            for ks in ("3,5", 3)]  # fmt: skip
    assert [point.key for point in sweep.grid()] == keys
    with pytest.raises(InputError, match="batch_size is given twice"):
        sweep_of({"batch-size": {"value": 8}, "batch_size": {"value": 16}})


@pytest.mark.parametrize("key", REFUSED_KEYS)
def test_keys_of_wandb_that_cannot_be_followed_are_refused_with_the_reason(key):
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
    if "min" in spec and "log_uniform" not in kind.removesuffix("_values"):
        assert spec["min"] <= min(values) and max(values) <= spec["max"]


def test_probabilities_are_followed():
    spec = {"values": [1, 2, 3], "probabilities": [0.1, 0.0, 0.9]}
    parameter = sweep_of({"layers": spec}, method="random", run_cap=2).parameters["layers"]
    values = [parameter.at((i + 0.5) / 100) for i in range(100)]
    assert (values.count(1), values.count(2), values.count(3)) == (10, 0, 90)
    with pytest.raises(InputError, match="must add up to 1"):
        sweep_of({"layers": spec | {"probabilities": [1, 1, 1]}}, method="random", run_cap=2)


def test_wide_ranges_are_not_built_and_impossible_ones_are_named():
    sweep = sweep_of({"seed": {"min": 0, "max": 2**31 - 1}}, method="random", run_cap=3)
    assert sweep.parameters["seed"].count == 2**31
    with pytest.raises(InputError, match="natural exponents from -700 to 700"):
        sweep_of({"lr": {"distribution": "log_uniform", "min": 0, "max": 1000}},
                 method="random", run_cap=3)  # fmt: skip
    with pytest.raises(InputError, match="no multiple of q 50 lies from 10 to 40"):
        sweep_of({"batch_size": {"min": 10, "max": 40, "q": 50}}, method="random", run_cap=3)


def test_run_cap_with_seeds_counts_settings():
    sweep = sweep_of({"layers": {"values": [1, 2, 3]}, "size": {"values": [12, 16]}}, run_cap=2)
    rows = [(p.args["layers"], p.args["size"], p.args["seed"]) for p in
            sweep.with_seeds(2).grid()]  # fmt: skip
    assert sorted(rows) == [(1, 12, 0), (1, 12, 1), (1, 16, 0), (1, 16, 1)]


def test_a_grid_counts_what_cannot_be_built_and_leaves_it_out_when_asked():
    parameters = {"ks": {"values": [3, 4, 5, 6]}, "layers": {"values": [1, 2]}}
    with pytest.raises(InputError, match=r"4 of 8 points cannot be built.*--skip-invalid"):
        sweep_of(parameters)
    config = BASE | {"parameters": parameters}
    kept = parse_sweep(Path("s.yaml"), config, skip_invalid=True).grid()
    assert [point.args["ks"] for point in kept] == [3, 3, 5, 5]


def test_the_documented_table_has_every_key():
    text = (Path(__file__).parent.parent / "docs" / "sweeps.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for key in (*TOP_KEYS, *REFUSED_KEYS, *DISTRIBUTIONS, "probabilities", "target", "strict"):
        assert any(f"`{key}" in row for row in rows), f"docs/sweeps.md: a row for {key} is missing"
