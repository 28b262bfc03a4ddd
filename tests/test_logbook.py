"""``reports.logbook``: finished runs beside the published rows of their settings."""

from __future__ import annotations

import json

import pytest

from common.errors import InputError
from experiment.run import run
from experiment.settings import Settings
from reports.logbook import correlation, main
from tests.conftest import read_csv

pytestmark = pytest.mark.slow


def test_logbook_matches_a_run_with_its_published_row(tmp_path):
    values = {"data": "garments", "images": 64, "val_images": 20, "ks": 5}
    values |= {"runs_dir": tmp_path / "runs", "mode": "disabled", "device": "cpu"}
    result = run(Settings.parse("resconv", values), observer=lambda row: None)
    config = result.folder / "config.yaml"
    config.write_text(config.read_text().replace("name: garments", "name: fashion-mnist"))
    main([str(tmp_path / "runs"), "--out", str(tmp_path)], standalone_mode=False)
    files = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert files == ["kernel-size-64.csv", "kernel-size-range-64.csv"]  # a row of both
    [row] = read_csv(tmp_path / "kernel-size-64.csv")
    assert float(row["published val/l1"]) == pytest.approx(0.0466, abs=5e-5)
    assert float(row["val/l1"]) == pytest.approx(result.summary["last"]["val/l1"], abs=1e-6)
    page = (tmp_path / "tables.md").read_text()
    assert "## kernel-size, 64 images" in page

    # Called again it adds nothing; a run trained otherwise is left out, other rows stay.
    text = config.read_text()
    config.write_text(text.replace("optimizer: adamw", "optimizer: sgd"))
    with pytest.raises(InputError, match="no finished run of resconv trained as the logbook's"):
        main([str(result.folder), "--out", str(tmp_path)], standalone_mode=False)
    config.write_text(text)
    summary = result.folder / "summary.json"
    for loss in (None, 0.3):
        if loss:
            contents = json.loads(summary.read_text())
            contents["last"] |= {"val/l1": loss, "val/worst": 0.9}
            summary.write_text(json.dumps(contents))
        for _ in range(2):
            main([str(tmp_path / "runs"), "--out", str(tmp_path)], standalone_mode=False)
    rows = read_csv(tmp_path / "kernel-size-64.csv")
    assert [row["val/worst"] for row in rows] in (["0.9", ""], ["", "0.9"])
    (tmp_path / "kernel-size-64.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"kernel-size-64\.csv: lacks .*give another --out"):
        main([str(tmp_path / "runs"), "--out", str(tmp_path)], standalone_mode=False)

    # Five ranks with one exchange of neighbours: 1 - 6 * 2 / (5 * 24) = 0.9.
    assert correlation([1, 2, 3, 5, 4], [10, 20, 30, 40, 50]).startswith("0.90 (")
    assert correlation([1, 2, 3, 4, 5], [10, 20, 30, 40, 50]) == "1.00"
