"""Sweep files: every YAML of the project expands to its rows, and wrong files are named."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import yaml

from common.errors import InputError
from data.layout import find_files
from experiment.identity import identity
from experiment.settings import Settings
from sweeps.parameters import Parameter
from sweeps.sweep_file import read_sweep
from sweeps.yaml_file import read_yaml
from tests.conftest import ROOT
from tests.small_sweeps import HEAD, sweep_of

FILES = sorted((ROOT / "sweep_configs").glob("*.yaml"))
PUBLISHED = {}
with open(ROOT / "reports" / "published" / "resconv.csv", newline="") as _file:
    for _row in csv.DictReader(_file):
        PUBLISHED.setdefault(_row["table"], []).append(_row)
GOOD = f"""\
# Question: what?
#
# Command: none
{HEAD}\
  ks: {{values: [3, "3:9", 3]}}
  layers: {{values: [2, 1]}}
  bn_last: {{values: [true, false]}}
"""


@pytest.mark.parametrize("table", PUBLISHED)
def test_each_logbook_table_expands_to_exactly_its_published_rows(table):
    sweep = read_sweep(ROOT / "sweep_configs" / f"{table}.yaml")
    published = [
        Settings.parse("resconv", {
            "data": "fashion-mnist", "size": row["size"], "layers": row["layers"],
            "ks": row["ks"], "ch": row["ch"], "residual_weight": row["residual_weight"],
            "bn_encoder": row["bn_encoder"], "bn_decoder": row["bn_decoder"],
            "bn_last": row["bn_last_layer"] == "yes", "act": row["act"],
        })
        for row in PUBLISHED[table]
    ]  # fmt: skip
    points = sweep.grid()
    assert sorted(p.key for p in points) == sorted(map(identity, published))
    assert len(points) == len(published)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_command_parses_and_the_header_says_what_it_must(file):
    from cli.group import command_first
    from cli.train import train_command

    sweep, (_, header) = read_sweep(file), read_yaml(file)
    assert sweep.name == file.stem
    assert sweep.parameters["data"].distribution == "constant"
    assert sweep.parameters["data"].values[0] != "auto"
    for label in ("Question:", "Command: python train.py sweep", "Time:", "Published:", "Seeds:"):
        assert label in header
    assert f"sweep_configs/{file.name} " in header
    listed = math.prod(len(parameter.listed()) for parameter in sweep.parameters.values())
    assert f"({listed} runs)" in header
    for point in sweep.grid():
        task, *args = command_first(point.arguments(sweep))
        context = train_command(task).make_context(task, args)
        given = {k: v for k, v in context.params.items() if v is not None}
        assert given == {k: str(v) for k, v in point.args.items() if k != "command"}
        assert identity(Settings.parse(task, given)) == point.key


def test_grid_order_is_that_of_wandb():
    sweep = sweep_of(GOOD)
    points = sweep.grid()
    rows = [tuple(point.args.values()) for point in points]
    assert list(points[0].args) == ["bn_last", "ks", "layers"]
    assert rows == [
        (True, 3, 2), (True, 3, 1), (True, "3:9", 2), (True, "3:9", 1),
        (False, 3, 2), (False, 3, 1), (False, "3:9", 2), (False, "3:9", 1),
    ]  # fmt: skip
    assert points[2].arguments(sweep) == ["resconv", "--bn_last=True", "--ks=3:9", "--layers=2"]


def test_whole_number_ranges_caps_seeds_and_rehearsals():
    text = GOOD.replace("{values: [2, 1]}", "{min: 1, max: 4}")
    sweep = sweep_of(text)
    assert len(sweep.grid()) == 2 * 2 * 4
    assert len(sweep_of(text + "run_cap: 5\n").grid()) == 5
    seeded = sweep.with_seeds(3).shortened(640)
    assert len(seeded.grid()) == 3 * len(sweep.grid())
    first = seeded.grid()[0].args
    assert (first["images"], first["val_images"], first["seed"]) == (640, 106, 0)
    assert seeded.name == "mini-images-640"
    assert seeded.config["parameters"]["seed"] == {"values": [0, 1, 2]}
    assert "val_images" not in sweep.shortened(6000).grid()[0].args
    assert sweep.shortened(640, 2000).grid()[0].args["val_images"] == 2000
    assert yaml.safe_load(yaml.safe_dump(seeded.config)) == seeded.config
    assert not {p.key for p in seeded.grid()} & {p.key for p in sweep.grid()}


def test_a_rehearsal_validates_on_at_most_the_available_images(tmp_path):
    sweep = sweep_of(GOOD)
    own = sweep.with_parameter("val_images", Parameter("constant", (40,)))
    assert own.shortened(640).grid()[0].args["val_images"] == 40
    assert own.shortened(120).grid()[0].args["val_images"] == 20
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(30):
            (tmp_path / "photos" / name / f"{i}.png").touch()
    held_out = len(find_files(tmp_path / "photos").val)
    data = Parameter("categorical", ("garments", str(tmp_path / "photos")))
    folder = sweep.with_parameter("data", data)
    assert folder.shortened(640).grid()[0].args["val_images"] == held_out < 106


def test_full_convs_of_different_rank_are_one_run():
    sweep = read_sweep(ROOT / "sweep_configs" / "resconv-rank.yaml")
    assert [p.args["conv"] for p in sweep.grid()] == ["full"] + ["select"] * 5


RANDOM = GOOD.replace("method: grid", "method: random")
WRONG = {
    "broken yaml": ("method: [grid\nprogram: x", ("line 2, column 8",)),
    "base 60": (GOOD.replace('"3:9"', "3:9"), ("line 9, column", "'3:9' in quotes")),
    "key twice": (GOOD + "method: grid\n", ("line 12, column 1", "'method' is given twice")),
    "unknown key": (GOOD + "metod: grid\n", ("'metod'", "'method'")),
    "unknown parameter key": (
        GOOD.replace("{values: [2", "{valuse: [2"),
        ("Did you mean 'value'",),
    ),
    "unknown parameter": (GOOD.replace("layers:", "leyers:"), ("leyers", "'layers'")),
    "wrong value": (GOOD.replace("[2, 1]", "[2, 0]"), ("--layers 0", "from 1 to 200")),
    "values that do not fit": (GOOD + "  groups: {value: 5}\n", ("--groups 5",)),
    "huge grid": (GOOD + "  seed: {min: 0, max: 100000}\n", ("800,008 points",)),
    "empty values": (GOOD.replace("[2, 1]", "[]"), ("layers", "one or more")),
    "nested values": (GOOD.replace("[2, 1]", "{a: 1}"), ("layers", "plain values")),
    "metric never logged": (GOOD.replace("val/l1,", "val/loss,"), ("never logged", "val/l1")),
    "wrong goal": (GOOD.replace("minimize", "minimise"), ("'minimize'",)),
    "no task": (GOOD.replace("resconv, ", ""), ("${program}",)),
    "random without end": (RANDOM, ("run_cap",)),
    "random, wrong end": (RANDOM + "  lr: {min: -1, max: 1}\nrun_cap: 3\n", ("--lr -1",)),
    "min above max": (RANDOM + "  lr: {min: 2.0, max: 1}\nrun_cap: 3\n", ("min below max",)),
    "no step": (
        RANDOM + "  lr: {distribution: q_uniform, min: 0, max: 1, q: 0}\nrun_cap: 3\n",
        ("q above 0",),
    ),
    "run_cap 0": (GOOD + "run_cap: 0\n", ("run_cap 0",)),
    "hyperband without bands": (GOOD + "early_terminate: {type: hyperband}\n", ("min_iter",)),
    "another early_terminate": (GOOD + "early_terminate: {type: median}\n", ("hyperband",)),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_invalid_file_is_reported_in_one_line_with_its_cause(case):
    text, parts = WRONG[case]
    with pytest.raises(InputError) as error:
        sweep_of(text)
    assert "\n" not in str(error.value)
    for part in ("mini.yaml", *parts):
        assert part in str(error.value)


def test_missing_files_and_invalid_seeds_are_refused():
    with pytest.raises(InputError, match=r"nothing\.yaml: cannot be read"):
        read_sweep(Path("nothing.yaml"))
    with pytest.raises(InputError, match="sets the seed itself"):
        sweep_of(GOOD + "  seed: {values: [1, 2]}\n").with_seeds(2)


def test_a_sweep_over_commands_builds_each_nets_settings():
    text = (
        "method: grid\nmetric: {name: val/l1_composite}\nparameters:\n"
        "  command: {values: [unet, mlp]}\n  images: {value: 640}\n  lr: {values: [0.001, 0.003]}\n"
    )
    sweep = sweep_of(text)
    assert sweep.config["command"] == ["${env}", "${interpreter}", "${program}", "${args}"]
    settings = [sweep.settings(point.args) for point in sweep.grid()]
    assert [(s.command, s.training.lr) for s in settings] == [
        ("unet", 0.001), ("unet", 0.003), ("mlp", 0.001), ("mlp", 0.003),
    ]  # fmt: skip
    assert all(sweep.holds(s) for s in settings)
    assert not sweep.holds(Settings.parse("vit", {"images": 640, "lr": 0.001}))
    arguments = ["--command=unet", "--images=640", "--lr=0.001"]
    assert sweep.grid()[0].arguments(sweep) == arguments
    for wrong, message in (("[unet, classify]", "one task"), ("[unet, lenet]", "lenet")):
        with pytest.raises(InputError, match=message):
            sweep_of(text.replace("[unet, mlp]", wrong))
