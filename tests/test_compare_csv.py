"""``compare`` of CSV files of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.compare import compare, report
from common.errors import InputError
from tests.fake_runs import fake_run
from tests.test_compare import table_of


def test_compare_reads_its_own_output(tmp_path: Path, capsys) -> None:
    for number, (ks, seed) in enumerate(((3, 0), (3, 1), (5, 0), (5, 1))):
        loss = 0.05 + ks / 1000 + seed / 500
        fake_run(tmp_path / "runs", f"a{number}", loss, ks=ks, seed=seed)
    fake_run(tmp_path / "runs", "b", 0.9, task="classify")
    file = tmp_path / "x.csv"
    compare.main([str(tmp_path / "runs"), "--out", str(file)], standalone_mode=False)
    direct, read = table_of(capsys, tmp_path / "runs"), table_of(capsys, file)
    assert [table["metric"] for table in read] == ["val/l1", "val/accuracy"]
    for before, after in zip(direct, read, strict=True):
        for name in (before["metric"], "place", "parameters", "minutes"):
            assert [row[name] for row in after["rows"]] == [row[name] for row in before["rows"]]
    assert [row["ks"] for row in read[0]["rows"]] == [3, 5]
    assert read[0]["rows"][0]["val/l1_std"] == direct[0]["rows"][0]["val/l1_std"]
    assert [row["runs"] for row in read[0]["rows"]] == [2, 2]
    assert "differs" not in read[0]["rows"][0], "means alone tell nothing about seeds"


def test_a_csv_file_of_runs_is_pooled_over_seeds_and_ranked_by_any_column(
    tmp_path: Path, capsys
) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("conv,seed,right\nfull,0,0.8\nfull,1,0.9\nselect,0,0.7\nselect,1,nan\n")
    with pytest.raises(InputError, match=r"no column is called like a metric .* conv, seed, right"):
        table_of(capsys, file)
    (table,) = table_of(capsys, file, "--metric", "right", "--goal", "maximize")
    assert [(row["conv"], row["right"]) for row in table["rows"]] == [
        ("full", pytest.approx(0.85)), ("select", pytest.approx(0.7)),
    ]  # fmt: skip
    assert table["rows"][0]["right_std"] == pytest.approx(0.005**0.5)
    with pytest.raises(InputError, match="holds no runs"):
        report.main([str(file), "--html", "x.html"], standalone_mode=False)


def test_a_metric_that_is_nan_is_still_the_metric_and_no_column_stands_twice(tmp_path, capsys):
    file = tmp_path / "runs.csv"
    file.write_text("layers,val/l1\n3,0.2\n4,nan\n")
    (table,) = table_of(capsys, file)
    assert [row["layers"] for row in table["rows"]] == [3]
    file.write_text("layers,val/l1,val/l1\n3,0.2,0.1\n")
    with pytest.raises(InputError, match="the column val/l1 is there twice"):
        table_of(capsys, file)
    file.write_text("layers,quality\n3,0.2\n")
    with pytest.raises(InputError, match="for example --metric quality, with --goal"):
        table_of(capsys, file)


def test_nets_trained_on_the_composite_are_ranked_by_it(tmp_path: Path, capsys) -> None:
    file = tmp_path / "nets.csv"
    file.write_text(
        "command,composite,seed,val/l1,val/l1_composite\n"
        "unet,True,0,0.14,0.035\nvit,True,0,0.08,0.039\n"
    )
    (table,) = table_of(capsys, file)
    assert [(r["command"], r["val/l1_composite"]) for r in table["rows"]] == [
        ("unet", 0.035), ("vit", 0.039),
    ]  # fmt: skip


def test_repetitions_of_a_seed_get_separate_rows(tmp_path: Path, capsys) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("\ufeffval/l1,act,seed\n0.2,relu,0\n0.3,relu,0\n0.4,gelu,0\n")
    (table,) = table_of(capsys, file)
    assert [(r["act"], r["val/l1"], r["run"]) for r in table["rows"]] == [
        ("relu", 0.2, "runs:2"), ("relu", 0.3, "runs:3"), ("gelu", 0.4, "runs:4"),
    ]  # fmt: skip
    assert "older run" not in str(table["notes"])


def test_rows_without_a_seed_are_not_pooled(tmp_path: Path, capsys) -> None:
    file = tmp_path / "classic.csv"
    file.write_text("method,data,psnr\nBM3D,a,30\nBM3D,a,25\nnothing,a,20\n")
    (table,) = table_of(capsys, file, "--metric", "psnr")
    assert [(row["psnr"], row["run"]) for row in table["rows"]] == [
        (30, "classic:2"), (25, "classic:3"), (20, "classic:4"),
    ]  # fmt: skip


def test_means_and_sizes_are_noted_and_a_speed_is_better_when_higher(tmp_path, capsys) -> None:
    file = tmp_path / "means.csv"
    text = "size,val/l1,val/l1_std,perf/images_per_second\n28,0.2,0.01,5\n64,0.3,0.01,9\n"
    file.write_text(text)
    (table,) = table_of(capsys, file)
    assert "The file has only means: differences cannot be tested." in table["notes"]
    assert "Images of different sizes (28 and 64): no fair ranking." in table["notes"]
    (table,) = table_of(capsys, file, "--metric", "perf/images_per_second")
    assert [row["size"] for row in table["rows"]] == [64, 28]


@pytest.mark.parametrize("column", ["val/l1", "val/l1_std", "images", "images_per_second"])
def test_text_in_place_of_a_number_is_refused_in_one_line(column: str, tmp_path: Path) -> None:
    cells = {"val/l1": "0.2", "val/l1_std": "0.1", "images": "64", "images_per_second": "9"}
    cells[column] = "n/a"
    file = tmp_path / "x.csv"
    file.write_text(f"{','.join(cells)}\n{','.join(cells.values())}\n")
    with pytest.raises(InputError, match=rf"x\.csv, line 2: {column} must be a number, not 'n/a'"):
        compare.main([str(file), "--metric", "val/l1"], standalone_mode=False)


def test_runs_of_other_commits_are_pooled(tmp_path: Path, capsys) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(
        "width,seed,val/l1,torch,commit\n8,0,0.2,2.15,aaa\n8,1,0.4,2.11,bbb\n16,0,0.5,2.15,aaa\n"
    )
    (table,) = table_of(capsys, file)
    rows = [(row["width"], row["runs"], row["val/l1"]) for row in table["rows"]]
    assert rows == [(8, 2, pytest.approx(0.3)), (16, 1, 0.5)]


@pytest.mark.parametrize("text", ["", "a,b\n1\n", "a\n1,2\n"])
def test_a_file_without_a_table_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=r"x\.csv: no table"):
        compare.main([str(tmp_path / "x.csv")], standalone_mode=False)
