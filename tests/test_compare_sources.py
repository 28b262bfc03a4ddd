"""``compare``'s sources: sweep files, studies, run folders, damaged ones, wrong input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.compare import compare
from tests.fake_runs import fake_run
from tests.test_compare import refused, table_of


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

    (now,) = table_of(capsys, file, "--runs-dir", tmp_path)
    assert [row["run_ids"] for row in now["rows"]] == [["b", "c"], ["d"]]
    assert "val/psnr" in now["rows"][0], "the file's own metric ranks"
    left_out = "Left out: 2 of settings that the sweep file no longer holds (--all shows them)."
    assert left_out in now["notes"]
    assert any("different numbers of images (640 and 1,280)" in note for note in now["notes"])
    arguments = (file, "--runs-dir", tmp_path, "--all", "--metric")
    (every,) = table_of(capsys, *arguments, "val/l1")
    assert [row["run_ids"] for row in every["rows"]] == [["e"], ["a"], ["b", "c"], ["d"]]
    assert "--metric val/l2: no run has it" in refused(*arguments, "val/l2")


def test_seeds_stopped_early_are_reported_beside_the_mean_of_the_others(tmp_path, capsys) -> None:
    for run_id, ks, seed, state in (
        ("a", 3, 0, "finished"), ("b", 3, 1, "stopped"), ("c", 5, 0, "finished"),
    ):  # fmt: skip
        folder = fake_run(tmp_path, run_id, 0.1, state=state, ks=ks, seed=seed, sweep="kernels")
        if state == "stopped":
            summary = json.loads((folder / "summary.json").read_text())
            (folder / "summary.json").write_text(json.dumps(summary | {"images_seen": 1280}))
    (table,) = table_of(capsys, tmp_path)
    assert sorted(row["run_ids"] for row in table["rows"]) == [["a"], ["c"]]
    stopped = [note for note in table["notes"] if "stopped early" in note]
    assert stopped == [
        "ks 3: the mean is of 1 finished seeds; 1 stopped early (after 1,280 images) are not in it."
    ]


def test_runs_given_one_by_one_form_one_table_per_data_set(tmp_path, capsys) -> None:
    net: Any = {"layers": 15, "ch": 32, "residual_weight": 0.1, "bn_last": True, "size": 32}
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


def test_a_damaged_run_is_skipped_in_a_search_and_reported(tmp_path, capsys) -> None:
    for run_id, ks in (("a", 3), ("b", 5), ("c", 7)):
        damaged = fake_run(tmp_path, run_id, ks / 100, ks=ks, sweep="kernels")
    config = (damaged / "config.yaml").read_text()
    sweep = tmp_path / "kernels.yaml"
    sweep.write_text("name: kernels\nmethod: grid\nparameters: {ks: {values: [3, 5, 7]}}\n")
    for cut, reason in (
        (config[:300], "not the config of a run"),
        (config + "\n}", "cannot be read"),
    ):
        (damaged / "config.yaml").write_text(cut)
        for source in (tmp_path, sweep):
            arguments = [str(source), "--runs-dir", str(tmp_path), "--format", "json"]
            compare.main(arguments, standalone_mode=False)
            out, err = capsys.readouterr()
            (table,) = json.loads(out)
            assert [row["run_ids"] for row in table["rows"]] == [["a"], ["b"]]
            assert err.startswith(f"Left out: {damaged / 'config.yaml'}: ") and err.count("\n") == 1
            assert reason in err
        assert reason in refused(damaged)


def test_a_run_of_another_command_is_left_out_also_by_name(tmp_path, capsys) -> None:
    kept, other = fake_run(tmp_path, "a", 0.1), fake_run(tmp_path, "b", 0.2)
    config = other / "config.yaml"
    config.write_text(config.read_text().replace("task: resconv", "task: diffusion"))
    compare.main([str(kept), str(other), "--format", "json"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert [row["run_ids"] for row in json.loads(out)[0]["rows"]] == [["a"]]
    message = "a run of diffusion, must be one of resconv, "
    assert err.startswith("Left out: ") and message in err and err.count("\n") == 1
    assert message in refused(other)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["/no/such/folder"], "no such file or folder"),
        (["a/b/c/d"], "not a W&B path"),
        (["runs/broken"], "cannot be read"),
        (["runs/mixed-projects"], "2 projects (one, two)"),
        (["runs/failed"], "none of the 1 runs is finished (1 failed)"),
        (["runs/good/notes.txt"], "not an Optuna journal"),
        (["runs/none.yaml"], "cannot be read"),
        (["runs/good", "--format", "markdwn"], "Did you mean 'markdown'?"),
        (["runs/good", "--columns", "parameter"], "Did you mean 'parameters'?"),
        (["runs/good", "--out", "t.html"], "--out t.html: the ending must be one of .txt, .md"),
        (["runs/good", "--sort", "lss"], "--sort lss: no run has it"),
        (["runs/good", "--out", "runs/good/notes.txt/t"], "cannot be written"),
        (["runs/good", "--plots", "runs/good/notes.txt"], "cannot be written"),
        (["runs/good", "--images", "images"], "none of these runs has demo pictures"),
        (["runs/nope"], "runs/nope: no such file or folder; give a run folder, "),
    ],
)
def test_wrong_input_is_one_line(sources, message) -> None:
    runs = Path("runs")
    shutil.copytree(fake_run(runs / "x", "x", 0.1), runs / "broken")
    (runs / "broken" / "summary.json").write_text("{")
    fake_run(runs / "mixed-projects", "a", 0.1, project="one")
    fake_run(runs / "mixed-projects", "b", 0.1, project="two")
    fake_run(runs / "failed", "a", 0.1, state="failed")
    fake_run(runs / "good", "a", 0.1)
    (runs / "good" / "notes.txt").write_text("hello\n")
    assert message in refused(*sources)
