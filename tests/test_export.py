"""``export``: what other tools read back is what the run folders hold."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from cli.use import export
from common.errors import InputError
from tests.fake_runs import fake_run


def test_tensorboard_reads_every_scalar_picture_and_setting_back(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for number, ks in enumerate((3, 5)):
        run = fake_run(tmp_path / "runs", f"r{number}", 0.05 + ks / 100, ks=ks)
        (run / "pictures").mkdir(exist_ok=True)
        Image.new("L", (8, 4), 10 * ks).save(run / "pictures" / "images-000000640.png")
    logs = tmp_path / "logs"
    export.main([str(tmp_path / "runs"), "--to", "tensorboard", str(logs)], standalone_mode=False)
    runs = sorted((tmp_path / "runs").iterdir())
    assert sorted(path.name for path in logs.iterdir()) == [run.name for run in runs]
    for run in runs:
        events = reader.EventAccumulator(str(logs / run.name), {"scalars": 0, "images": 0})
        events.Reload()
        with open(run / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        for key in set(rows[0]) - {"step"}:
            wanted = [(int(row["step"]), float(row[key])) for row in rows if row[key]]
            found = [(event.step, event.value) for event in events.Scalars(key)]
            assert [step for step, _ in found] == [step for step, _ in wanted]
            assert [v for _, v in found] == pytest.approx([v for _, v in wanted], rel=1e-6)
        assert [image.step for image in events.Images("overview")] == [640]
        assert "_hparams_/session_start_info" in events.summary_metadata
    with pytest.raises(InputError, match="exists already"):
        export.main(
            [str(tmp_path / "runs"), "--to", "tensorboard", str(logs)], standalone_mode=False
        )


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(InputError, match="must be one of tensorboard, onnx, torch, hub-folder"):
        export.main(["runs", "--to", "excel", "x"], standalone_mode=False)
