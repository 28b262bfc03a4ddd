"""``compare``'s outputs: forms of the table, files, plots and sheets of pictures."""

from __future__ import annotations

import csv
import io
import json
from itertools import groupby

from PIL import Image

from cli.compare import compare
from tests.fake_runs import fake_run


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
        assert len(Image.open(plot).convert("RGB").getcolors(1 << 20) or []) > 20
    sheet = Image.open(images / "runs.png").convert("L")

    def shades(row: int) -> list[object]:
        found = (sheet.getpixel((x, 42 + 90 * row + 78)) for x in range(sheet.width))
        return [shade for shade, _ in groupby(found) if shade != 255]

    kinds = ["input", "target", *["output", "error"] * 3]
    first = {"input": 0, "output": 20, "target": 40, "error": 60}
    assert sheet.height == 42 + 90 * len(kinds)
    for row, kind in enumerate(kinds):
        assert shades(row) == [first[kind] + 15 * n for n in range(12)]

    once = fake_run(tmp_path, "once", 0.05)
    lines = (once / "metrics.csv").read_text().splitlines()
    (once / "metrics.csv").write_text(f"{lines[0]}\n{lines[-1]}\n")
    capsys.readouterr()
    compare.main([str(once), "--plots", str(plots)], standalone_mode=False)
    assert capsys.readouterr().err == "Plots: nothing to draw\n"
