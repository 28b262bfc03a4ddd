"""What ``sweep`` says before and while it runs: wrong input, the dry run, the live table."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from common.errors import InputError
from sweeps import online
from sweeps.children import Children
from sweeps.claims import Claims
from sweeps.offline import StudyEngine
from sweeps.progress import ProgressDisplay, Row
from sweeps.study import PointStatus, Study
from sweeps.worker import Job
from tests.small_sweeps import JOURNAL, MINI, RESULT, next_claim, open_study, sweep_of, write


def test_a_helper_counts_the_points_of_all_commands_and_knows_their_best():
    mine, others = open_study()[0], Study(JOURNAL, sweep_of())
    screen = StringIO()
    display = ProgressDisplay(mine.sweep, 1, Console(file=screen, width=200))
    display.begin(mine.statuses())
    engine = StudyEngine(mine, Job(JOURNAL, "mini.yaml", {}, mine.command, "runs"))
    for study, value in ((others, 0.5), (others, 0.125), (mine, 0.25)):
        claims = Claims(study)
        claims.done(next_claim(claims), value, RESULT)
    display.update(mine.statuses(), [])
    display.announce(engine.results(mine.statuses()))
    assert engine.results(mine.statuses()) == [], "each run is announced once"
    line = screen.getvalue().splitlines()[-1]
    assert line.startswith("[3/6] ks=3 layers=3: val/l1 0.25000 in 0:00; best 0.12500 (ks=3 layers")


def test_points_are_added_while_others_are_training(monkeypatch):
    monkeypatch.setattr("sweeps.study.QUEUE_LENGTH", 2)
    study, claims = open_study()
    running = [next_claim(claims), next_claim(claims)]
    assert claims.next() is None and study.waiting() == 0
    engine = StudyEngine(study, Job(JOURNAL, "mini.yaml", {}, study.command, "runs"))
    assert engine.next_command(Children(2, [], Path("logs"))) is not None
    assert study.waiting() == 2
    claims.failed(running[0], "broken", {})
    for _ in range(2):
        claims.done(next_claim(claims), 0.5, RESULT)
    engine.next_command(Children(2, [], Path("logs")))
    assert [next_claim(claims).point.key for _ in range(2)] == [p.key for p in study.points[4:]]
    engine.next_command(Children(2, [], Path("logs")))
    assert study.waiting() == 0, "what failed here waits for --retry-failed"


def test_dry_run_prints_the_commands_and_starts_nothing(cli):
    outcome = cli("sweep", write(), "--dry-run", "--seeds", 2, "--images", 640)
    lines = outcome.out.splitlines()
    assert outcome.code == 0 and len(lines) == 12
    assert lines[0] == (
        "python train.py resconv --ch=4 --data=garments --images=640 --ks=3 --layers=1 --seed=0 "
        "--size=12 --train_images=256 --val_images=40"
    )
    assert not Path("studies").exists() and not Path("runs").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["mini.yaml", "--images", "many"], "--images"),
        (["mini.yaml", "--images", "3"], "--images 3"),
        (["mini.yaml", "--mode", "on"], "--mode"),
        (["mini.yaml", "--study", "foo://bar"], "--study foo://bar"),
        (["mini.yaml", "--study", "mini.yaml"], "not an Optuna journal"),
        (["mini.yaml", "--study", "."], "--study"),
        (["mini.yaml", "--join", "a/b/c"], "needs W&B's server"),
        (["mini.yaml", "--join", "a/b/c", "--mode", "offline"], "needs W&B's server"),
        (["mini.yaml", "--study", "s.journal", "--mode", "online"], "--study is for offline"),
        (["mini.yaml", "--joim", "a/b/c"], "--join"),
        (["mini.yaml", "--mode", "online"], "--mode online: no W&B API key found; run wandb login"),
        (["mini.yaml", "--status", "--retry-failed"], "--status with --retry-failed: give one"),
        (["mini.yaml", "--status", "--dry-run"], "--status with --dry-run: give one of them"),
        (["mini.yaml", "--dry-run", "--retry-failed"], "--dry-run with --retry-failed: give one"),
        (["--join", "a/b/c", "--seeds", "2"], "--seeds with --join: the server says"),
        (["--join", "a/b/c", "--project", "p"], "--project with --join: give one of them"),
        (["--join", "a/b/c", "--tags", 70 * "t"], "--tags: a tag has at most 64 characters"),
        (["mini.yaml", "--new", "--status"], "--new with --status: give one of them"),
        (["mini.yaml", "--tags", 70 * "t"], "a tag has at most 64 characters"),
        (["mini.yaml", "--project", "a/b", "--study", "s.journal"], "--project a/b: must be"),
    ],
)
def test_invalid_input_is_one_line_and_starts_nothing(cli, args, message):
    write()
    before = Path("mini.yaml").read_bytes()
    outcome = cli("sweep", *args)
    assert outcome.code == 2 and outcome.err.count("\n") == 1, outcome
    assert message in outcome.err
    assert sorted(p.name for p in Path().iterdir()) == ["mini.yaml"]
    assert Path("mini.yaml").read_bytes() == before


WRONG_HERE = {
    "data: {value: mnist}": "--data 'mnist' is not a folder and not one of auto, fashion-mnist, ",
    "data: {values: [garments, photos/none]}": "--data 'photos/none' is not a folder",
    "data: {value: garments}\n  data_root: {value: none-here}": "--data-root 'none-here' is no",
}


@pytest.mark.parametrize("data", WRONG_HERE)
def test_missing_data_is_refused_before_anything_starts(data, cli):
    write(MINI.replace("data: {value: garments}", data))
    for options in ([], ["--dry-run"], ["--mode", "disabled"]):
        outcome = cli("sweep", "mini.yaml", *options)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome
        assert f"Error: mini.yaml: {WRONG_HERE[data]}" in outcome.err
    assert sorted(p.name for p in Path().iterdir()) == ["mini.yaml"]
    assert cli("sweep", "mini.yaml", "--status").code == 0, "the data may lie on another machine"


WRONG_AS_A_WHOLE = {
    "project: a/b\n": ("mini.yaml: project a/b: must be at most 128 characters", []),
    "tags: [" + 70 * "t" + "]\n": ("mini.yaml: tags: a tag has at most 64 characters", []),
    "early_terminate: {type: hyperband, min_iter: 1, strict: true}\n": ("strict is not known", []),
    "command: [train.py, resconv, --images=64, '${args}']\n": ("its command sets --images, so a",
                                                              ["--images", 128]),
}  # fmt: skip


@pytest.mark.parametrize("line", WRONG_AS_A_WHOLE)
def test_settings_invalid_for_every_run_are_refused_before_anything_starts(line, cli):
    message, options = WRONG_AS_A_WHOLE[line]
    start = line.partition(":")[0]
    kept = [text for text in MINI.splitlines() if not text.startswith((start, "  images"))]
    write(line + "\n".join(kept))
    outcome = cli("sweep", "mini.yaml", "--mode", "offline", *options)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome
    assert message in outcome.err
    assert sorted(p.name for p in Path().iterdir()) == ["mini.yaml"]


def test_run_cap_times_the_seeds_of_a_grid_is_sent_and_a_random_sweep_takes_none(monkeypatch):
    sent = []
    found = SimpleNamespace(url="", config={})
    monkeypatch.setattr(online, "find_sweep", lambda path: found)
    monkeypatch.setattr(online, "create_sweep", lambda config, *_: sent.append(config) or "a/b/c")
    grid = sweep_of(MINI.replace("method: grid", "method: grid\nrun_cap: 2"))
    online.OnlineSweep.create(grid.with_seeds(3), {"project": "p"})
    drawn = sweep_of(MINI.replace("method: grid", "method: random\nrun_cap: 2"))
    with pytest.raises(InputError, match="would draw each run's seed"):
        online.OnlineSweep.create(drawn.with_seeds(2), {"project": "p"})
    online.OnlineSweep.create(drawn, {"project": "p"})
    with pytest.raises(InputError, match="40,000 points; at most 10,000 in a sweep"):
        drawn.with_seeds(20_000)
    for method in ("random", "bayes"):
        many = sweep_of(MINI.replace("method: grid", f"method: {method}\nrun_cap: 1000000000"))
        online.OnlineSweep.create(many, {"project": "p"})
        with pytest.raises(InputError, match="1,000,000,000 points; at most 100,000"):
            Study("many.journal", many)
    assert not Path("many.journal").exists()
    assert [config["run_cap"] for config in sent] == [6, 2, 10**9, 10**9]


def test_an_online_run_is_shown_with_the_values_of_wandbs_summary(monkeypatch):
    summary = {"images_seen": 640, "_runtime": 9, "val/l1": {"last": 0.5, "min": 0.25}}
    config = sweep_of().grid()[0].args
    run = SimpleNamespace(
        id="abcd", state="running", url="", config=config, summary_metrics=summary
    )
    monkeypatch.setattr(online, "find_sweep", lambda path: SimpleNamespace(url="", config={}))
    monkeypatch.setattr(online, "runs_of", lambda path: [run])
    screen = StringIO()
    console = Console(file=screen, width=200, force_terminal=True)
    display = ProgressDisplay(sweep_of(), 1, console)
    engine = online.AgentEngine(online.OnlineSweep("a/b/c", sweep_of()), display, [], {})
    statuses = engine.statuses()
    assert statuses is not None
    with display:
        display.update(statuses, engine.rows(statuses, Children(1, [], Path("logs"))))
    assert "0.50000" in screen.getvalue()


def test_a_study_of_another_sweep_is_refused(cli):
    Study("s.journal", sweep_of())
    other = write(MINI.replace("name: mini", "name: other"), "other.yaml")
    for also in ([], ["--status"]):
        outcome = cli("sweep", other, "--study", "s.journal", *also)
        assert outcome.code == 2 and "belongs to the sweep mini, not to other" in outcome.err
    goal = write(MINI.replace("val/l1", "val/mse"))
    outcome = cli("sweep", goal, "--study", "s.journal")
    assert outcome.code == 2 and "its metric differs" in outcome.err


def test_the_live_table_shows_progress_best_remaining_time_and_workers():
    sweep, screen = sweep_of(), StringIO()
    first, *rest = sweep.grid()
    console = Console(force_terminal=True, width=100, file=screen)
    with ProgressDisplay(sweep, 2, console) as display:
        display.begin([PointStatus(first, "done", value=0.25),
                       *(PointStatus(p, "missing") for p in rest)])  # fmt: skip
        done = [PointStatus(p, "done", {"seconds": 60.0}, v) for p, v in
                ((first, 0.25), (rest[0], 0.125))]  # fmt: skip
        statuses = [*done, *(PointStatus(p, "running") for p in rest[1:4]),
                    PointStatus(rest[4], "missing")]  # fmt: skip
        known = {"images_seen": 1280, "images_total": 2560, "val/l1": 0.5}
        rows = [Row("0", "data=shots[day] x[/old]", known, 65.0), Row("1", "starting")]
        display.update(statuses, rows)
        display.announce(done[1:])
    head = "2 of 6 done, 1 running in other commands, best 0.12500 (ks=3 layers=2); about 2:32 left"
    for text in ("[2/6] ks=3 layers=2", head, "1,280 of 2,560", "x[/old]", "1:05", "starting"):
        assert text in screen.getvalue()
