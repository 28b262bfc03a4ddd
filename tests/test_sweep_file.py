"""Sweep files as W&B's users write them: commands, distributions, metrics, caps, wrong corners."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from pathlib import Path

import pytest

from common.errors import InputError
from sweeps.claims import Claims
from sweeps.sampling import extend_random
from sweeps.study import Study, points_of
from tests.small_sweeps import (
    COMMAND,
    HEAD,
    JOURNAL,
    RESULT,
    all_claims,
    next_claim,
    open_study,
    states,
    sweep_of,
)

METRIC = "metric: {name: val/l1, goal: minimize}\n"
FILE = f"name: mini\n{HEAD}  layers: {{values: [1, 2]}}\n"
RANDOM = FILE.replace("method: grid", "method: random\nrun_cap: 40")

COMMANDS = {
    "as documented": COMMAND,
    "without hyphens": COMMAND.replace("args}", "args_no_hyphens}"),
    "boolean flags": COMMAND.replace("args}", "args_no_boolean_flags}"),
    "python3": COMMAND.replace("${interpreter}", "python3"),
    "unbuffered": COMMAND.replace('"${program}"', '-u, "${program}"'),
    "file name": COMMAND.replace("${program}", "train.py"),
    "a block list": "command:\n- ${env}\n- python\n- ${program}\n- resconv\n- ${args}\n",
    "none": "",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_any_spelling_runs_the_same_points(command):
    found = sweep_of(FILE.replace(COMMAND, COMMANDS[command]))
    assert found.command == "resconv"
    assert [p.key for p in found.grid()] == [p.key for p in sweep_of(FILE).grid()]
    assert [p.args for p in found.grid()] == [{"layers": 1}, {"layers": 2}]


def test_options_in_the_command_and_variables_are_part_of_each_point(monkeypatch):
    monkeypatch.setenv("MY_IMAGES", "640")
    literal = COMMAND.replace('"${args}"', "--images, '${envvar:MY_IMAGES}', --bn-last, "
                              '--no-deterministic, --act=relu, "${args}"')  # fmt: skip
    more = "  images: {value: 640}\n  bn_last: {value: true}\n  act: {value: relu}\n"
    found = sweep_of(FILE.replace(COMMAND, literal))
    assert [p.key for p in found.grid()] == [p.key for p in sweep_of(FILE + more).grid()]
    monkeypatch.delenv("MY_IMAGES")
    with pytest.raises(InputError, match="variable MY_IMAGES is not set"):
        sweep_of(FILE.replace(COMMAND, literal))
    with pytest.raises(InputError, match="--layers is in command and in parameters"):
        sweep_of(FILE.replace(COMMAND, COMMAND.replace('"${args}"', '--layers=3, "${args}"')))


def test_probabilities_weigh_the_choice():
    text = RANDOM.replace("run_cap: 40", "run_cap: 300") + (
        "  act: {values: [relu, gelu], probabilities: [0.9, 0.1]}\n"
        "  weight_decay: {min: 0.0, max: 1.0}\n"
    )
    acts = [point.args["act"] for point in points_of(sweep_of(text))]
    assert 250 < acts.count("relu") < 290 and acts.count("gelu") == 300 - acts.count("relu")
    with pytest.raises(InputError, match="must add up to 1"):
        sweep_of(text.replace("0.9, 0.1", "0.9, 0.2"))


def test_a_higher_run_cap_adds_samples_and_a_lower_one_keeps_all():
    text = RANDOM + "  seed: {min: 0, max: 2000000000}\n"
    drawn = extend_random(sweep_of(text.replace("run_cap: 40", "run_cap: 300")), [])
    more = extend_random(sweep_of(text.replace("run_cap: 40", "run_cap: 350")), drawn)
    assert more[:300] == drawn and len(more) == 350
    for cap, points in ((5, 5), (2, 2), (5, 5)):
        study = Study("random.journal", sweep_of(text.replace("run_cap: 40", f"run_cap: {cap}")))
        assert len(study.points) == points
        attributes = study.storage.get_study_user_attrs(study.study_id)
        [record] = [value for key, value in attributes.items() if key.startswith("draws ")]
        assert len(record) == 5
    study = Study("random.journal", sweep_of(text.replace("max: 2000000000", "max: 100")))
    assert len(study.points) == 40, "other ranges are drawn from anew"
    assert all(point.args["seed"] <= 100 for point in study.points)
    small = text.replace("max: 2000000000", "max: 149").replace("run_cap: 40", "run_cap: 300")
    assert len(Study("small.journal", sweep_of(small)).points) == 300, "all of a small space"


def test_a_wide_range_takes_no_memory():
    tracemalloc.start()
    start = time.monotonic()
    points = points_of(sweep_of(RANDOM + "  seed: {min: 0, max: 2000000000}\n"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len({point.args["seed"] for point in points}) == 40
    assert peak < 30e6 and time.monotonic() - start < 10


def test_nested_parameters_and_lists():
    text = FILE + (
        "  optimizer_settings:\n    parameters:\n      lr: {values: [0.1, 0.01]}\n"
        "      weight_decay: {value: 0.5}\n  ks: {values: [[3, 5], 3]}\n"
    )
    sweep = sweep_of(text.replace("[1, 2]", "[2]"))
    points = sweep.grid()
    found = [(p.args["lr"], p.args["weight_decay"], p.args["ks"]) for p in points]
    assert found == [(lr, 0.5, ks) for ks, lr in itertools.product([[3, 5], 3], [0.1, 0.01])]
    assert "--ks=[3, 5]" in points[0].arguments(sweep)


METRICS = {
    "": ("val/l1", "minimize", None),
    "metric: {name: val/ssim}\n": ("val/ssim", "maximize", None),
    "metric: {name: val/l1, goal: minimize, target: 0.05}\n": ("val/l1", "minimize", 0.05),
}


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_may_lack_its_goal_or_be_absent_or_have_a_target(metric):
    found = sweep_of(FILE.replace(METRIC, metric))
    assert (found.metric, found.goal, found.target) == METRICS[metric]


def test_extension_keys_group_tags_and_dates():
    found = sweep_of("x-note: {a: 1}\ngroup: g\ntags: [one, 2]\nproject: 2026-11-25\n" + FILE)
    assert "x-note" not in found.config and found.config["project"] == "2026-11-25"
    assert (found.config["group"], found.config["tags"]) == ("g", ["one", "2"])


def test_run_cap_with_seeds_caps_settings():
    capped = sweep_of(FILE.replace("[1, 2]", "[1, 2, 3]") + "run_cap: 2\n").with_seeds(3)
    rows = [(point.args["layers"], point.args["seed"]) for point in capped.grid()]
    assert sorted(rows) == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert len(points_of(sweep_of(RANDOM.replace("40", "2")).with_seeds(3))) == 6


def test_a_grid_lists_its_invalid_points_and_skips_them_on_request():
    text = FILE + "  groups: {values: [1, 3]}\n  ch: {values: [6, 8]}\n"
    with pytest.raises(InputError, match=r"2 of 8 points cannot be built.*--skip-invalid"):
        sweep_of(text)
    assert len(sweep_of(text, skip_invalid=True).grid()) == 6


def test_random_samples_are_reproducible_distinct_and_extended_by_a_higher_cap():
    text = RANDOM + "  act: {values: [gelu, relu]}\n  lr: {min: 0.0001, max: 0.01}\n"
    sweep = sweep_of(text)
    points = points_of(sweep)
    first = [point.key for point in points]
    assert len(set(first)) == 40 and all(1e-4 <= point.args["lr"] <= 1e-2 for point in points)
    more = [point.key for point in points_of(sweep_of(text.replace("40", "50")))]
    assert more[:40] == first and len(set(more)) == 50
    seeded = points_of(sweep.with_seeds(2))
    assert [p.args | {"seed": s} for p in points for s in (0, 1)] == [p.args for p in seeded]
    rehearsed = points_of(sweep.shortened(640))
    assert [p.args["lr"] for p in rehearsed] == [p.args["lr"] for p in points]
    assert len(points_of(sweep_of(RANDOM))) == 2, "all that a small space holds"


def bayes_keys() -> list[str]:
    """The settings that a new study of a bayes sweep over 8 settings draws, for one worker."""
    text = FILE.replace("method: grid", "method: bayes\nrun_cap: 10")
    text = text.replace("[1, 2]", "[1, 2, 3, 4]") + "  ks: {values: [3, 5]}\n"
    Path(JOURNAL).unlink(missing_ok=True)
    _, claims = open_study(text)
    keys = []
    for claim in all_claims(claims):
        keys.append(claim.settings_key)
        claims.done(claim, 0.1 * claim.point.args["layers"], RESULT)
    return keys


def test_bayes_repeats_no_setting_and_is_reproducible():
    one, two = bayes_keys(), bayes_keys()
    assert one == two and len(one) == len(set(one)) == 8


def test_an_invalid_bayes_point_fails_and_the_sampler_learns_that_it_is_infeasible():
    text = FILE.replace("method: grid", "method: bayes\nrun_cap: 6").replace("[1, 2]", "[1]")
    text += "  ks: {min: 3, max: 8}\n  stride: {value: 1}\n"
    study, claims = open_study(text)
    for claim in all_claims(claims):
        if claim.point.args["ks"] % 2 == 0:
            claims.infeasible(claim, "an even kernel")
        else:
            claims.done(claim, 0.5, RESULT)
    found = states(study)
    assert set(found) == {"done", "failed"} and len(found) == 6
    study.enqueue_missing(retry_failed=True)
    again = list(all_claims(claims))
    assert len(again) == found.count("failed") and all(c.point.args["ks"] % 2 == 0 for c in again)


def test_two_workers_sampling_the_same_bayes_setting_keep_it_once(monkeypatch):
    text = FILE.replace("method: grid", "method: bayes\nrun_cap: 2")
    _, first = open_study(text)
    second = Claims(Study(JOURNAL, sweep_of(text)))
    real, met = Claims._write_claim, []

    def write_claim(self, trial_id, args, key):
        if not met:  # the other worker draws before this one has written its own draw
            met.append(args["layers"])
            met.append(next_claim(second).point.args["layers"])
        return real(self, trial_id, args, key)

    monkeypatch.setattr(Claims, "_write_claim", write_claim)
    mine = next_claim(first).point.args["layers"]
    assert {mine, met[1]} == {1, 2}


WRONG = {
    "several objectives": (FILE + "metrics: [{name: val/l1}]\n", "several objectives"),
    "another program": (FILE.replace("train.py", "other.py"), "program other.py: must be train.py"),
    "scheduler": (FILE + "scheduler: {job: x}\n", "scheduler: W&B Launch"),
    "both spellings": (FILE + "  batch-size: {value: 8}\n  batch_size: {value: 9}\n", "batch_size"),
    "exponent": (
        RANDOM + "  lr: {distribution: log_uniform, min: 0, max: 1000}\n",
        "natural exponents",
    ),
    "goal against the metric": (FILE.replace("val/l1", "val/ssim"), "must be maximize"),
    "no multiple": (
        RANDOM + "  lr: {distribution: q_uniform, min: 0.1, max: 0.2, q: 1}\n",
        "no multiple of q",
    ),
    "two commands fit": (FILE.replace(COMMAND, "").replace("layers", "seed").replace(
        METRIC, ""), "command is missing"),
    "target that is no number": (FILE.replace("minimize}", "minimize, target: x}"), "target x"),
    "list of distributions": (
        RANDOM + "  lr: {distribution: [uniform], min: 0.1, max: 0.2}\n",
        r"distribution \['uniform'\]",
    ),
    "empty q": (
        RANDOM + "  lr: {distribution: q_uniform, min: 0.1, max: 0.2, q: null}\n",
        "must be numbers",
    ),
    "infinite": (RANDOM + "  lr: {min: 0.1, max: .inf}\n", "must be numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_invalid_commands_are_one_line_with_the_reason(case):
    text, message = WRONG[case]
    with pytest.raises(InputError, match=message) as error:
        sweep_of(text)
    assert str(error.value).startswith("mini.yaml: ") and "\n" not in str(error.value)
