"""``train.py compare``: sources, the table, its numbers, its forms, its errors."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from cli.compare import compare, report
from common.errors import InputError
from reports.published import FOLDER
from reports.statistics import LEVEL, from_best
from tests.fake_runs import fake_run


def table_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict]:
    compare.main([*map(str, arguments), "--format", "json"], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


def refused(*arguments: object) -> str:
    with pytest.raises(InputError) as error:
        compare.main([*map(str, arguments)], standalone_mode=False)
    message = str(error.value)
    assert "\n" not in message
    return message


def logbook_rows() -> list[dict[str, str]]:
    with open(FOLDER / "resconv.csv", newline="") as file:
        return list(csv.DictReader(file))


def run_logbook(folder: Path, offset: float, images: int = 180_000, suffix: str = "") -> None:
    """One fake run for each of the 113 published rows, ``offset`` above the published loss."""
    keys = ["size", "layers", "ks", "ch", "residual_weight", "bn_encoder", "bn_decoder", "act"]
    for number, row in enumerate(logbook_rows()):
        fake_run(
            folder, f"row{number:03}", float(row["validation_loss"]) + offset, images=images,
            sweep=row["table"] + suffix, parameters=int(row["parameters"]),
            seconds=60 * float(row["minutes"]), bn_last=row["bn_last_layer"],
            **{key: row[key] for key in keys},
        )  # fmt: skip


def test_all_eight_logbook_tables_in_published_order(tmp_path, capsys) -> None:
    run_logbook(tmp_path, 0.001, images=640, suffix="-images-640")
    tables = table_of(capsys, tmp_path)
    published = logbook_rows()
    names = list(dict.fromkeys(row["table"] for row in published))
    assert [t["sweep"] for t in tables] == [f"{name}-images-640" for name in names]
    assert [len(t["rows"]) for t in tables] == [12, 12, 6, 16, 21, 16, 5, 25]
    ours = [row for t in tables for row in t["rows"]]
    losses = [float(row["validation_loss"]) for row in published]
    assert [row["published"] for row in ours] == losses
    assert [row["difference"] for row in ours] == pytest.approx([0.001] * 113)
    assert [row["parameters"] for row in ours] == [int(row["parameters"]) for row in published]
    assert all("640 of the logbook's 180,000 images" in " ".join(t["notes"]) for t in tables)
    columns = [sorted(set(t["rows"][0]) - {"run_ids"}) for t in tables]
    common = {"place", "val/l1", "published", "difference", "parameters", "minutes"}
    common |= {"images_per_second"}
    varying = [set(c) - common for c in columns]
    assert varying == [
        {"layers"}, {"layers"}, {"residual_weight"}, {"bn_encoder", "bn_decoder"}, {"act"},
        {"ch"}, {"ks"}, {"ks"},
    ]  # fmt: skip


def test_seeds_are_joined_and_each_setting_is_compared_with_the_best(tmp_path, capsys) -> None:
    losses = {3: (0.050, 0.051, 0.052), 5: (0.0505, 0.0515, 0.0525), 7: (0.07, 0.071, 0.072)}
    for ks, values in losses.items():
        for seed, loss in enumerate(values):
            fake_run(tmp_path, f"k{ks}s{seed}", loss, ks=ks, seed=seed, seconds=60 * (seed + 1))
    fake_run(tmp_path, "k9s0", 0.09, ks=9)
    (table,) = table_of(capsys, tmp_path)
    rows = table["rows"]
    assert [row["ks"] for row in rows] == [3, 5, 7, 9]
    assert [row["differs"] for row in rows] == ["best", "yes", "yes", "cannot tell"]
    assert rows[2]["from_best"] == pytest.approx(0.02) and rows[2]["from_best_p"] < 1e-6
    assert [row["runs"] for row in rows] == [3, 3, 3, 1]
    assert rows[0]["val/l1"] == pytest.approx(0.051)
    assert rows[0]["val/l1_std"] == pytest.approx(0.001)
    assert rows[0]["minutes"] == pytest.approx(2)
    assert "Holm" in table["notes"][0]


def test_equals_share_a_place_and_lone_seeds_are_told_from_several(tmp_path, capsys) -> None:
    for act, seed, accuracy in (("a", 0, 1.0), ("b", 0, 1.0), ("c", 0, 0.75), ("c", 1, 0.5)):
        settings = {"task": "classify", "label_smoothing": ord(act) / 1000, "seed": seed}
        fake_run(tmp_path, f"{act}{seed}", accuracy, **settings)
    (table,) = table_of(capsys, tmp_path)
    assert [(row["place"], row["runs"]) for row in table["rows"]] == [(1, 1), (1, 1), (3, 2)]
    assert "have one seed" in table["notes"][0]
    assert "Known spread between seeds: 0.18" in table["notes"][0]
    compare.main([str(tmp_path), "--columns", "val/accuracy"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "1.0000" in out and "0.6250 ± 0.1768" in out
    page = tmp_path / "page.html"
    report.main([str(tmp_path), "--html", str(page)], standalone_mode=False)
    assert "tied with 1 more</dd>" in page.read_text(encoding="utf-8")


def test_differences_from_the_best_against_known_values() -> None:
    """t = 2.4495 with 4 degrees of freedom is p = 0.0705 (unpaired), times 2 / 2 settings."""
    best, other = {0: 1.0, 1: 2.0, 2: 3.0}, {3: 3.0, 4: 4.0, 5: 5.0}
    none, found, lone = from_best([best, other, {0: 9.0}])
    assert none is None and lone is None and found is not None
    assert found.p == pytest.approx(0.0705, abs=1e-4)
    assert (found.mean, found.low) == (2.0, pytest.approx(2 - 2.2669, abs=1e-4))
    paired = from_best([{0: 1.0, 1: 5.0, 2: 9.0}, {0: 1.5, 1: 5.4, 2: 9.6}])[1]
    assert paired is not None and paired.p == pytest.approx(0.01307, abs=1e-4)
    exact = from_best([{0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0}])[1]
    assert exact is not None and exact.p == 0.0, "the same difference for each seed"


def _simulated(settings: int, step: float, seed_effect: float, trials: int) -> list[list[bool]]:
    """Which settings are called different from the best, in each of many simulated sweeps."""
    random = Random(1)
    answers = []
    for _ in range(trials):
        shared = [random.gauss(0, seed_effect) for _ in range(3)]
        values = [
            {seed: random.gauss(step * n, 1) + shared[seed] for seed in range(3)}
            for n in range(settings)
        ]
        values.sort(key=lambda each: sum(each.values()))
        answers.append([found is not None and found.p < LEVEL for found in from_best(values)])
    return answers


@pytest.mark.parametrize("seed_effect", [0, 3])
def test_equal_settings_are_called_different_in_at_most_5_percent_of_tables(seed_effect) -> None:
    answers = _simulated(8, 0, seed_effect, 200)
    assert sum(map(any, answers)) <= 18, "more than 5 % of 200, beyond chance (p < 0.01)"


def test_different_settings_are_told_from_the_best_with_three_seeds() -> None:
    """24 settings, each one standard deviation of the seeds apart: of 24 neighbours a test of
    each pair alone found 0.3."""
    answers = _simulated(25, 1, 0, 20)
    assert sum(map(sum, answers)) / len(answers) > 20


def test_unfinished_and_repeated_runs_are_left_out_and_said(tmp_path, capsys) -> None:
    fake_run(tmp_path, "a", 0.05, act="gelu")
    newer = fake_run(tmp_path, "b", 0.06, act="gelu")
    (newer / "summary.json").touch()
    fake_run(tmp_path, "c", 0.07, act="relu")
    fake_run(tmp_path, "d", 0.01, act="mish", state="failed")
    fake_run(tmp_path, "e", 0.01, act="silu", state="running")
    (table,) = table_of(capsys, tmp_path)
    assert [row["run_ids"] for row in table["rows"]] == [["b"], ["c"]]
    notes = " ".join(table["notes"])
    for note in (
        "1 failed, 1 running or killed",
        "1 older runs",
        "Failed: resconv-l11-k3-c32-actmish (d)",
    ):
        assert note in notes


def test_each_data_set_and_task_has_a_table_budgets_become_columns(tmp_path, capsys) -> None:
    fake_run(tmp_path, "a", 0.05, dataset="garments", images=640)
    fake_run(tmp_path, "b", 0.06, dataset="garments", images=1280, lr=0.001)
    fake_run(tmp_path, "c", 0.06)
    fake_run(tmp_path, "d", 0.9, task="classify")
    tables = table_of(capsys, tmp_path)
    names = ["on garments", "on fashion-mnist, restoration", "on fashion-mnist, classification"]
    assert [len(table["rows"]) for table in tables] == [2, 1, 1]
    assert [t["sweep"].startswith("runs on") for t in tables] == [True] * 3, names
    rows = tables[0]["rows"]
    assert [(r["images"], r["lr"]) for r in rows] == [(640, 0.0003), (1280, 0.001)]


def test_rows_by_condition_number_and_direction(tmp_path, capsys) -> None:
    for run_id, lr, loss in (("a", 1e-4, 0.05), ("b", 1e-3, 0.06), ("c", 1e22, -0.5)):
        fake_run(tmp_path, run_id, loss, lr=lr)

    def ids(*arguments: str) -> list[str]:
        return [row["run_ids"][0] for row in table_of(capsys, tmp_path, *arguments)[0]["rows"]]

    assert ids() == ["c", "a", "b"] and ids("--goal", "maximize") == ["b", "a", "c"]
    assert ids("--where", "lr<0.01", "--best") == ["a"] and ids("--where", "lr!=0.001") == [
        "c",
        "a",
    ]
    assert ids("--sort", "-lr") == ["c", "b", "a"] and ids("--sort", "val/l1", "--top", "1") == [
        "c"
    ]
    assert "no column l" in refused(tmp_path, "--where", "l<1")
    assert "must be NAME<VALUE" in refused(tmp_path, "--where", "lr")
    assert "no row meets" in refused(tmp_path, "--where", "lr<0")


def test_groups_join_all_runs_that_share_a_setting(tmp_path, capsys) -> None:
    for ks, lr, loss in ((3, 0.1, 0.05), (3, 0.2, 0.07), (5, 0.1, 0.04), (5, 0.2, 0.10)):
        fake_run(tmp_path, f"{ks}{lr}", loss, ks=ks, lr=lr, parameters=ks)
    (table,) = table_of(capsys, tmp_path, "--group-by", "ks")
    shown = ("ks", "joined", "group_runs", "val/l1", "best_setting", "parameters")
    assert [tuple(row[name] for name in shown) for row in table["rows"]] == [
        (3, 2, 2, pytest.approx(0.06), 0.05, 3), (5, 2, 2, pytest.approx(0.07), 0.04, 5),
    ]  # fmt: skip
    assert table["rows"][0]["val/l1_std"] == pytest.approx(0.0002**0.5)
    assert table["notes"][0].startswith("Each row joins all settings and seeds that share ks")
    (table,) = table_of(capsys, tmp_path, "--group-by", "layers", "--columns", "parameters")
    assert table["rows"][0]["parameters"] is None, "they differ within the group"
    assert "--group-by layer: no such setting. Did you mean 'layers'?" in refused(
        tmp_path, "--group-by", "layer"
    )


def test_nets_trained_on_the_composite_are_ranked_by_it_and_have_no_published_value(
    tmp_path, capsys
) -> None:
    """The published values are of whole outputs: ``val/l1``, never the composite's error."""
    net = {"layers": 15, "ch": 32, "residual_weight": 0.1, "bn_last": True, "size": 32}
    plain = fake_run(tmp_path, "a", 0.05, sweep="layers-32", **net)
    fake_run(tmp_path, "b", 0.04, sweep="layers-32", composite=True, **net)
    (table,) = table_of(capsys, tmp_path)
    assert table["metric"] == "val/l1_composite" and "published" not in table["rows"][0]
    assert "1 without val/l1_composite" in " ".join(table["notes"])
    (table,) = table_of(capsys, plain)
    assert table["rows"][0]["difference"] == pytest.approx(0.05 - 0.054141)
    assert "published" not in table_of(capsys, plain, "--metric", "val/psnr")[0]["rows"][0]


def test_differences_in_per_cent_from_a_baseline(tmp_path, capsys) -> None:
    for run_id, ks, loss in (("a", 3, 0.05), ("b", 5, 0.06)):
        fake_run(tmp_path, run_id, loss, ks=ks)
    (table,) = table_of(capsys, tmp_path, "--baseline", "a")
    assert [row["from_baseline"] for row in table["rows"]] == pytest.approx([0, 20])
    assert "--baseline c: none of" in refused(tmp_path, "--baseline", "c")


def test_two_runs_of_one_id_are_both_shown(tmp_path, capsys) -> None:
    fake_run(tmp_path, "same", 0.05, ks=3)
    fake_run(tmp_path, "same", 0.06, ks=5)
    assert len(table_of(capsys, tmp_path)[0]["rows"]) == 2


def test_narrow_terminals_get_fewer_columns_and_a_note(tmp_path, capsys, monkeypatch) -> None:
    for ks in (3, 5):
        for seed in range(2):
            settings = {"ks": ks, "seed": seed, "sweep": "kernel-size", "layers": 11}
            fake_run(tmp_path, f"k{ks}{seed}", 0.05 + ks / 1000, **settings)
    monkeypatch.setenv("COLUMNS", "80")
    compare.main([str(tmp_path)], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if set(line) & set("┃│")) <= 80
    assert any(line.startswith("Not shown, for want of width: ") for line in lines)


@pytest.mark.parametrize("name", ["t.html", "t.xlsx", "t.docx"])
def test_an_unknown_ending_is_refused(name, tmp_path) -> None:
    fake_run(tmp_path, "a", 0.05)
    assert f"--out {name}: the ending must be one of .md" in refused(tmp_path, "--out", name)


def test_classification_ranks_by_accuracy_beside_the_logbook(tmp_path, capsys) -> None:
    for conv, parameters, accuracy in (("full", 174_787, 0.83), ("select", 27_363, 0.85)):
        fake_run(
            tmp_path, conv, accuracy, task="classify", conv=conv, parameters=parameters,
            sweep="classify-conv", dataset="dog-cat-bird",
        )  # fmt: skip
    (table,) = table_of(capsys, tmp_path)
    rows = [(r["conv"], r["val/accuracy"], r["published"]) for r in table["rows"]]
    assert rows == [("select", 0.85, 0.8153), ("full", 0.83, 0.8417)]
    assert table["rows"][0]["difference"] == pytest.approx(0.85 - 0.8153)
    assert table["rows"][0]["test_difference"] == pytest.approx(0.84 - 0.8153)


def test_a_published_value_stands_only_beside_its_own_setting(tmp_path, capsys) -> None:
    logbook = {"task": "classify", "dataset": "dog-cat-bird", "conv": "full", "parameters": 174_787}
    others = {"dataset": "folder", "size": 64, "train_images": 3000, "model": "resnet18"}
    for number, other in enumerate(({}, *({key: value} for key, value in others.items()))):
        fake_run(tmp_path / "c", f"c{number}", 0.8 - number / 100, **(logbook | other))
    fake_run(tmp_path / "c", "select", 0.7, **(logbook | {"conv": "select", "rank": 2}))
    table, folder = table_of(capsys, tmp_path / "c")
    assert [row["published"] for row in table["rows"]] == [0.8417, *[None] * 4]
    assert [row.get("published") for row in folder["rows"]] == [None]

    net = {"layers": 15, "ch": 32, "residual_weight": 0.1, "bn_last": True, "size": 32}
    nets = ({}, {"conv": "select"}, {"groups": 2}, {"stride": 2}, {"padding": 0, "size": 64})
    for number, other in enumerate(nets):
        sweep = "layers-64" if "size" in other else "layers-32"
        fake_run(tmp_path / "r", f"r{number}", 0.05 + number / 1000, sweep=sweep, **(net | other))
    fake_run(tmp_path / "r", "lr", 0.09, sweep="layers-32", lr=0.01, optimizer="sgd", **net)
    table, padded = table_of(capsys, tmp_path / "r")
    published = [row["published"] for row in table["rows"]]
    assert published == [0.054141, None, None, None, 0.054141]
    assert "published" not in padded["rows"][0]
    assert {
        "Learning rate 0.01, the logbook's was 0.0003: not comparable.",
        "Optimizer sgd, the logbook's was adamw: not comparable.",
    } == {note for note in table["notes"] if "not comparable" in note}


def test_the_setting_rank_is_not_the_place_in_the_table(tmp_path, capsys) -> None:
    for rank, loss in ((1, 0.06), (9, 0.05)):
        fake_run(tmp_path, f"rank{rank}", loss, conv="select", rank=rank)
    (table,) = table_of(capsys, tmp_path)
    assert [(row["place"], row["rank"]) for row in table["rows"]] == [(1, 9), (2, 1)]


def test_a_sweep_file_finds_its_runs_and_rehearsals(tmp_path, capsys, monkeypatch) -> None:
    runs = tmp_path / "runs"
    fake_run(runs, "a", 0.05, sweep="kernels", ks=3)
    fake_run(runs, "b", 0.04, sweep="kernels-images-640", ks=5)
    fake_run(runs, "c", 0.03, sweep="others", ks=7)
    file = tmp_path / "k.yaml"
    file.write_text("# Question: which kernel?\n\nname: kernels\nmethod: grid\n")
    tables = table_of(capsys, file, "--runs-dir", runs)
    assert [(t["sweep"], t["rows"][0]["run_ids"]) for t in tables] == [
        ("kernels", ["a"]), ("kernels-images-640", ["b"]),
    ]  # fmt: skip
    assert tables[0]["question"] == "Question: which kernel?"
    file.write_text("name: nothing\n")
    assert "no runs of this sweep under" in refused(file, "--runs-dir", runs)
    file.write_text("name: [\n")
    assert "line 2" in refused(file, "--runs-dir", runs)


def test_a_sweep_file_shows_its_settings_as_they_are_now(tmp_path, capsys) -> None:
    for run_id, ks, seed, images in (
        ("a", 3, 0, 640), ("b", 5, 0, 640), ("c", 5, 1, 640), ("d", 7, 0, 1280),
    ):  # fmt: skip
        fake_run(tmp_path, run_id, ks / 100, images=images, ks=ks, seed=seed, sweep="kernels")
    fake_run(tmp_path, "e", 0.01, ks=5, lr=0.1, sweep="kernels")
    file = tmp_path / "kernels.yaml"
    text = "method: grid\nmetric: {name: val/psnr}\nparameters: {ks: {values: [5, 7]}}\n"
    file.write_text(text)

    def table(*options: str) -> dict:
        arguments = [str(file), "--runs-dir", str(tmp_path), "--format", "json", *options]
        compare.main(arguments, standalone_mode=False)
        [found] = json.loads(capsys.readouterr().out)
        return found

    now = table()
    assert [row["run_ids"] for row in now["rows"]] == [["b", "c"], ["d"]]
    assert "val/psnr" in now["rows"][0], "the file's own metric ranks"
    left_out = "Left out: 2 of settings that the sweep file no longer holds (--all shows them)."
    assert left_out in now["notes"]
    assert any("different numbers of images (640 and 1,280)" in note for note in now["notes"])
    every = table("--all", "--metric", "val/l1")
    assert [row["run_ids"] for row in every["rows"]] == [["e"], ["a"], ["b", "c"], ["d"]]
    with pytest.raises(InputError, match="--metric val/l2: no run has it"):
        table("--metric", "val/l2")


def test_seeds_that_were_stopped_early_are_named_beside_the_mean_of_the_others(
    tmp_path, capsys
) -> None:
    for run_id, ks, seed, state in (
        ("a", 3, 0, "finished"), ("b", 3, 1, "stopped"), ("c", 5, 0, "finished"),
    ):  # fmt: skip
        folder = fake_run(tmp_path, run_id, 0.1, state=state, ks=ks, seed=seed, sweep="kernels")
        if state == "stopped":
            summary = json.loads((folder / "summary.json").read_text())
            (folder / "summary.json").write_text(json.dumps(summary | {"images_seen": 1280}))
    compare.main([str(tmp_path), "--format", "json"], standalone_mode=False)
    [table] = json.loads(capsys.readouterr().out)
    assert sorted(row["run_ids"] for row in table["rows"]) == [["a"], ["c"]]
    stopped = [note for note in table["notes"] if "stopped early" in note]
    assert stopped == [
        "ks 3: the mean is of 1 finished seeds; 1 stopped early (after 1,280 images) are not in it."
    ]


def test_runs_named_one_by_one_stand_in_one_table_a_data_set(tmp_path, capsys) -> None:
    net = {"layers": 15, "ch": 32, "residual_weight": 0.1, "bn_last": True, "size": 32}
    swept = fake_run(tmp_path, "a", 0.05, sweep="layers-32", **net)
    alone = fake_run(tmp_path, "b", 0.06, **(net | {"layers": 19}))
    other = fake_run(tmp_path, "c", 0.01, dataset="garments", **net)
    (table,) = table_of(capsys, swept, alone)
    assert [(r["layers"], r["published"]) for r in table["rows"]] == [(15, 0.054141), (19, None)]
    tables = table_of(capsys, swept, alone, other)
    assert [(t["sweep"], [row["run_ids"] for row in t["rows"]]) for t in tables] == [
        ("runs on fashion-mnist", [["a"], ["b"]]), ("runs on garments", [["c"]]),
    ]  # fmt: skip
    assert [t["sweep"] for t in table_of(capsys, tmp_path)] == [
        "layers-32", "runs on fashion-mnist", "runs on garments",
    ]  # fmt: skip


def test_a_study_names_its_runs(tmp_path, capsys) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    journal = tmp_path / "kernels.journal"
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(storage=storage, study_name="kernels")
    assert "no finished runs" in refused(journal)
    for ks in (3, 5):
        run = fake_run(tmp_path / "runs", f"k{ks}", ks / 100, ks=ks, sweep="kernels")
        trial = study.ask()
        trial.set_user_attr("folder", f"gone/{run.name}")
        study.tell(trial, ks / 100)
    assert "its run folder gone" in refused(journal)
    (table,) = table_of(capsys, journal, "--runs-dir", tmp_path / "runs")
    assert (table["sweep"], [row["ks"] for row in table["rows"]]) == ("kernels", [3, 5])
    trial = study.ask()
    other = fake_run(tmp_path / "runs", "other", 0.1, sweep="activation")
    trial.set_user_attr("folder", str(other))
    study.tell(trial, 0.1)
    assert "a run of the sweep activation" in refused(journal, "--runs-dir", tmp_path / "runs")


def test_formats_sort_columns_and_out(tmp_path, capsys) -> None:
    for run_id, ks, loss, name in (("a", "3:9", 0.05, "a|b_1"), ("b", "3:11", 0.06, "x\x1b[31m")):
        fake_run(tmp_path / "runs", run_id, loss, ks=ks, name=name, parameters=1_234_567)
    source = tmp_path / "runs"

    def text(*arguments: str) -> str:
        compare.main([str(source), *arguments], standalone_mode=False)
        return capsys.readouterr().out

    assert "1,234,567" in text() and "0.05000" in text()
    assert text("--columns", "ks,names", "--format", "markdown").splitlines()[2:6] == [
        "| ks | names |", "| --- | --- |", "| 3:9 | a\\|b_1 |", "| 3:11 | x�[31m |",
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(text("--format", "csv", "--sort", "-ks"))))
    assert [(r["ks"], r["parameters"]) for r in rows] == [("3:11", "1234567"), ("3:9", "1234567")]
    latex = text("--columns", "ks,names", "--format", "latex")
    assert r"3:9 & a|b\_1 \\" in latex and r"\begin{tabular}{ll}" in latex

    def written(name: str, *arguments: str) -> str:
        text("--out", str(tmp_path / "deep" / name), *arguments)
        return (tmp_path / "deep" / name).read_text()

    assert written("t.md").startswith("## runs")
    assert written("t.CSV").startswith("sweep,place,ks,")
    assert json.loads(written("t.json"))[0]["sweep"] == "runs"
    assert "\\toprule" in written("t.tex")
    assert "┃" in written("t.txt") and "┃" in written("rich.md", "--format", "rich")


def test_plots_and_picture_sheets(tmp_path, capsys) -> None:
    runs = tmp_path / "runs"
    for number, (ks, seed) in enumerate(((3, 0), (3, 1), (5, 0), (7, 0))):
        fake_run(
            runs, f"r{number}", 0.05 + ks / 1000 + seed / 2000, ks=ks, seed=seed, pictures=True,
            parameters=ks * 1000, receptive_field=ks * 9, seconds=60 * ks,
        )  # fmt: skip
    plots, images = tmp_path / "plots", tmp_path / "images"
    arguments = [str(runs), "--plots", str(plots), "--images", str(images)]
    compare.main(arguments, standalone_mode=False)
    assert sorted(p.name for p in plots.iterdir()) == [
        f"runs-{name}.png" for name in ("curves", "minutes", "parameters", "receptive-field")
    ]
    for plot in plots.iterdir():
        assert len(Image.open(plot).convert("RGB").getcolors(1 << 20)) > 20
    sheets = images / "runs"
    assert (
        len(list(sheets.glob("*.png"))) == 13
        and (sheets / "0-T-shirt-top-left-erased.png").exists()
    )
    sheet = Image.open(sheets / "5-Bag-right-erased.png").convert("L")
    cells = [sheet.getpixel((sheet.width - 48 - 90 * n, sheet.height - 48)) for n in range(4)]
    assert cells[::-1] == [75, 95, 115, 135], "input, output, target, error of picture 5"

    assert "No curves" not in capsys.readouterr().err
    once = fake_run(tmp_path, "once", 0.05)
    lines = (once / "metrics.csv").read_text().splitlines()
    (once / "metrics.csv").write_text(f"{lines[0]}\n{lines[-1]}\n")
    compare.main([str(once), "--plots", str(plots)], standalone_mode=False)
    said = "Plots: nothing to draw\nNo curves of runs: one validation a run\n"
    assert capsys.readouterr().err == said


def test_a_damaged_run_is_left_out_of_a_search_and_named(tmp_path, capsys) -> None:
    for run_id, ks in (("a", 3), ("b", 5), ("c", 7)):
        damaged = fake_run(tmp_path, run_id, ks / 100, ks=ks, sweep="kernels")
    config = (damaged / "config.yaml").read_text()
    sweep = tmp_path / "kernels.yaml"
    sweep.write_text("name: kernels\nmethod: grid\nparameters: {ks: {values: [3, 5, 7]}}\n")
    for cut, reason in ((config[:300], "cut short"), (config + "\n}", "cannot be read")):
        (damaged / "config.yaml").write_text(cut)
        for source in (tmp_path, sweep):
            arguments = [str(source), "--runs-dir", str(tmp_path), "--format", "json"]
            compare.main(arguments, standalone_mode=False)
            out, err = capsys.readouterr()
            (table,) = json.loads(out)
            assert [row["run_ids"] for row in table["rows"]] == [["a"], ["b"]]
            assert err.startswith(f"Left out: {damaged}: ") and err.count("\n") == 1
            assert reason in err
        assert reason in refused(damaged)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "SOURCE: missing"),
        (["/no/such/folder"], "no such file or folder"),
        (["a/b/c/d"], "not a W&B path"),
        (["runs/empty"], "no runs there"),
        (["runs/broken"], "cannot be read"),
        (["runs/mixed-projects"], "2 projects (one, two)"),
        (["runs/failed"], "none of the 1 runs is finished (1 failed)"),
        (["runs/good/notes.txt"], "not an Optuna journal"),
        (["runs/none.yaml"], "cannot be read"),
        (["runs/good", "--format", "markdwn"], "Did you mean 'markdown'?"),
        (["runs/good", "--columns", "parameter"], "Did you mean 'parameters'?"),
        (["runs/good", "--sort", "lss"], "no such column"),
        (["runs/good", "--out", "runs/good/notes.txt/t"], "cannot be written"),
        (["runs/good", "--plots", "runs/good/notes.txt"], "cannot be written"),
        (["runs/good", "--images", "images"], "none of these runs has demo pictures"),
        (["runs/nope"], "runs/nope: no such file or folder; as a W&B path: no W&B API key"),
    ],
)
def test_wrong_input_is_one_line(sources, message, tmp_path, monkeypatch) -> None:
    for variable in ("WANDB_API_KEY", "WANDB_ENTITY", "WANDB_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    runs = Path("runs")
    (runs / "empty").mkdir(parents=True)
    shutil.copytree(fake_run(runs / "x", "x", 0.1), runs / "broken")
    (runs / "broken" / "summary.json").write_text("{")
    fake_run(runs / "mixed-projects", "a", 0.1, project="one")
    fake_run(runs / "mixed-projects", "b", 0.1, project="two")
    fake_run(runs / "failed", "a", 0.1, state="failed")
    fake_run(runs / "good", "a", 0.1)
    (runs / "good" / "notes.txt").write_text("hello\n")
    assert message in refused(*sources)
