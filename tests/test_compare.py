"""``train.py compare``: sources, the table, its numbers, its forms, its errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from cli.compare import compare, report
from common.errors import InputError
from reports.published import FOLDER
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


def logbook_rows() -> list[dict[str, Any]]:
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
    common = {"place", "val/l1", "published", "difference", "parameters", "minutes", "run_ids"}
    varying = [set(t["rows"][0]) - common - {"images_per_second"} for t in tables]
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


def test_ties_share_a_rank_and_single_seeds_are_marked(tmp_path, capsys) -> None:
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


def test_unfinished_and_repeated_runs_are_excluded_and_reported(tmp_path, capsys) -> None:
    fake_run(tmp_path, "a", 0.05, act="gelu")
    newer = fake_run(tmp_path, "b", 0.06, act="gelu")
    (newer / "summary.json").touch()
    fake_run(tmp_path, "c", 0.07, act="relu")
    fake_run(tmp_path, "d", 0.01, act="mish", state="failed")
    fake_run(tmp_path, "e", 0.01, act="silu", state="running")
    (table,) = table_of(capsys, tmp_path)
    assert [row["run_ids"] for row in table["rows"]] == [["b"], ["c"]]
    notes = " ".join(table["notes"])
    assert "1 failed, 1 running or killed" in notes and "an older run of" in notes
    assert "Failed: resconv-l11-k3-c32-actmish (d)" in notes


def test_each_data_set_and_task_has_a_table_budgets_become_columns(tmp_path, capsys) -> None:
    fake_run(tmp_path, "a", 0.05, dataset="garments", images=640)
    fake_run(tmp_path, "b", 0.06, dataset="garments", images=1280, lr=0.001)
    fake_run(tmp_path, "c", 0.06)
    fake_run(tmp_path, "d", 0.9, task="classify")
    tables = table_of(capsys, tmp_path)
    assert [(table["sweep"], len(table["rows"])) for table in tables] == [
        ("runs on garments, half, restoration", 2), ("runs on fashion-mnist, half, restoration", 1),
        ("runs on fashion-mnist, classification", 1),
    ]  # fmt: skip
    rows = tables[0]["rows"]
    assert [(r["images"], r["lr"]) for r in rows] == [(640, 0.0003), (1280, 0.001)]


def test_rows_by_condition_number_and_direction(tmp_path, capsys) -> None:
    for run_id, lr, loss in (("a", 1e-4, 0.05), ("b", 1e-3, 0.06), ("c", 1e22, -0.5)):
        fake_run(tmp_path, run_id, loss, lr=lr)

    def ids(*arguments: str) -> list[str]:
        return [row["run_ids"][0] for row in table_of(capsys, tmp_path, *arguments)[0]["rows"]]

    assert ids() == ["c", "a", "b"] and ids("--goal", "maximize") == ["b", "a", "c"]
    assert ids("--where", "lr<0.01", "--best") == ["a"]
    assert ids("--where", "lr!=0.001") == ["c", "a"]
    assert ids("--sort", "-lr") == ["c", "b", "a"]
    assert ids("--sort", "val/l1", "--top", "1") == ["c"]
    assert "--where l: no run has it" in refused(tmp_path, "--where", "l<1")
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
    assert "--group-by layer: no run has it. Did you mean 'layers'?" in refused(
        tmp_path, "--group-by", "layer"
    )
    for number, lr in enumerate((3e-4, 0.1)):
        fake_run(tmp_path / "sweep", f"p{number}", 0.05, sweep="activation", act="gelu", lr=lr)
    assert len(table_of(capsys, tmp_path / "sweep")[0]["rows"]) == 2
    (table,) = table_of(capsys, tmp_path / "sweep", "--group-by", "act")
    assert (table["rows"][0]["joined"], table["rows"][0].get("published")) == (2, None)


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


def test_pictures_that_cannot_be_written_leave_no_table(tmp_path, capsys) -> None:
    fake_run(tmp_path / "runs", "a", 0.1)
    (tmp_path / "file").touch()
    for option in ("--plots", "--images"):
        out = tmp_path / "table.md"
        given = str(tmp_path / "runs"), "--out", str(out), option, str(tmp_path / "file")
        with pytest.raises(InputError):
            compare.main(list(given), standalone_mode=False)
        assert not out.exists() and capsys.readouterr().out == ""


def test_differences_in_per_cent_from_a_baseline(tmp_path, capsys) -> None:
    for run_id, ks, loss in (("a", 3, 0.05), ("b", 5, 0.06)):
        fake_run(tmp_path, run_id, loss, ks=ks)
    (table,) = table_of(capsys, tmp_path, "--baseline", "a")
    assert [row["from_baseline"] for row in table["rows"]] == pytest.approx([0, 20])
    folder = next(tmp_path.glob("*-a"))
    (table,) = table_of(capsys, tmp_path, "--baseline", str(folder))
    assert [row["from_baseline"] for row in table["rows"]] == pytest.approx([0, 20])
    (table,) = table_of(capsys, tmp_path, "--baseline", "a", "--columns", "act")
    assert [row["from_baseline"] for row in table["rows"]] == pytest.approx([0, 20])
    assert "--baseline c: none of" in refused(tmp_path, "--baseline", "c")


def test_two_runs_of_one_id_are_both_shown(tmp_path, capsys) -> None:
    fake_run(tmp_path, "same", 0.05, ks=3)
    fake_run(tmp_path, "same", 0.06, ks=5)
    assert len(table_of(capsys, tmp_path)[0]["rows"]) == 2


def test_narrow_terminals_get_fewer_columns_and_a_notice(tmp_path, capsys, monkeypatch) -> None:
    for ks in (3, 5):
        for seed in range(2):
            settings = {"ks": ks, "seed": seed, "sweep": "kernel-size", "layers": 11}
            fake_run(tmp_path, f"k{ks}{seed}", 0.05 + ks / 1000, **settings)
    monkeypatch.setenv("COLUMNS", "80")
    compare.main([str(tmp_path)], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if set(line) & set("┃│")) <= 80
    assert any(line.startswith("Columns left out: ") for line in lines)


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
    nets: Any = ({}, {"conv": "select"}, {"groups": 2}, {"stride": 2}, {"padding": 0, "size": 64})
    for number, other in enumerate(nets):
        sweep = "layers-64" if "size" in other else "layers-32"
        fake_run(tmp_path / "r", f"r{number}", 0.05 + number / 1000, sweep=sweep, **(net | other))
    fake_run(tmp_path / "r", "lr", 0.09, sweep="layers-32", lr=0.01, optimizer="sgd", **net)
    table, padded = table_of(capsys, tmp_path / "r")
    assert "1 of the logbook's 12 rows have a finished run here." in table["notes"]
    published = [row["published"] for row in table["rows"]]
    assert published == [0.054141, None, None, None, 0.054141]
    assert "published" not in padded["rows"][0]
    assert {
        "Learning rate 0.01, the logbook's was 0.0003: not comparable.",
        "Optimizer sgd, the logbook's was adamw: not comparable.",
    } == {note for note in table["notes"] if "not comparable" in note}


def test_the_option_rank_is_not_the_tables_rank(tmp_path, capsys) -> None:
    for rank, loss in ((1, 0.06), (9, 0.05)):
        fake_run(tmp_path, f"rank{rank}", loss, conv="select", rank=rank)
    (table,) = table_of(capsys, tmp_path)
    assert [(row["place"], row["rank"]) for row in table["rows"]] == [(1, 9), (2, 1)]
