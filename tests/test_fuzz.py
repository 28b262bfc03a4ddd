"""Whatever a file or a server holds, its reader gives a result or an error of one line."""

from __future__ import annotations

import copy
import functools
import io
import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from common.errors import InputError, RunError
from experiment import checkpoints
from inference.restore import _open
from models.registry import NETS
from reports.collect import checked
from reports.comparison import tables_of
from reports.csv_files import csv_runs
from sweeps.storage import open_storage
from sweeps.sweep_file import read_sweep
from tests.fake_runs import fake_run
from tests.faults.damage import flipped
from tests.faults.journal import do_points, study_in
from tracking import api
from tracking.folder import read_config, state_of
from tracking.metrics_file import MetricsFile
from tracking.record import FolderRun, RunRecord, read_run_folder

CONFIG = b"task: resconv\nrun_id: a\ndataset: {checksum: x}\nlayers: 2\nlr: 0.1\n"
SWEEP = b"program: train.py\nmethod: grid\nparameters:\n  lr: {values: [0.1, 0.2]}\n"
ROWS = b"step,images_seen,epoch,train/l1\n1,16,0.1,0.5\n2,32,0.2,0.25\n"
RESULTS = b"layers,ks,val/l1,val/l1_std,minutes,runs\n3,3:9,0.05,0.001,2,3\n5,3,0.04,,1,1\n"
IGNORED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]
IGNORED += [HealthCheck.data_too_large, HealthCheck.differing_executors]
BOUNDED = settings(max_examples=40, deadline=None, suppress_health_check=IGNORED)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=4,
)


def checkpoint_bytes() -> bytes:
    file = io.BytesIO()
    torch.save({"format": checkpoints.FORMAT, "model": {"w": torch.arange(9.0)}}, file)
    return file.getvalue()


def image_bytes(kind: str) -> bytes:
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    Image.fromarray(pixels).save(file := io.BytesIO(), kind)
    return file.getvalue()


@functools.cache
def journal_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        study = study_in(Path(folder))
        do_points(study)
        return Path(study.where).read_bytes()


def read_journal(path: Path) -> None:
    storage = open_storage(str(path), read_only=True)
    for study in storage.get_all_studies():
        storage.get_all_trials(study._study_id)


READERS: dict[str, tuple[Any, Any]] = {
    "config.yaml": (lambda: CONFIG, lambda path: read_config(path.parent)),
    "summary.json": (lambda: b'{"state": "running"}', lambda path: state_of(path.parent)),
    "metrics.csv": (lambda: ROWS, lambda path: MetricsFile(path, ("train/l1",), 2).close()),
    "last.pt": (checkpoint_bytes, checkpoints.load),
    "sweep.yaml": (lambda: SWEEP, read_sweep),
    "results.csv": (lambda: RESULTS, csv_runs),
    "photo.png": (lambda: image_bytes("PNG"), _open),
    "photo.jpg": (lambda: image_bytes("JPEG"), _open),
    "photo.tif": (lambda: image_bytes("TIFF"), _open),
    "a.journal": (journal_bytes, read_journal),
}


@pytest.mark.parametrize("name", READERS)
@BOUNDED
@given(data=st.binary(max_size=200), chance=st.randoms(use_true_random=False), mutate=st.booleans())
def test_arbitrary_bytes_give_a_result_or_a_one_line_error(name, data, chance, mutate, tmp_path):
    whole, read = READERS[name]
    path = Path(tmp_path) / name
    path.write_bytes(flipped(whole(), chance) if mutate else data)
    one_line(read, path)


def one_line(read: Any, *args: Any) -> Any:
    """What ``read`` gives, or None after an error of one line."""
    try:
        return read(*args)
    except (InputError, RunError) as error:
        assert len(str(error).splitlines()) == 1, str(error)
        return None


def changed(draw: Any, whole: Any) -> Any:
    """``whole`` with one value in it, however deep, replaced by any other."""
    whole = copy.deepcopy(whole)
    place = whole
    while True:
        key = draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or draw(st.booleans()):
            place[key] = draw(JSON)
            return whole
        place = place[key]


@BOUNDED
@given(data=st.data())
def test_a_results_file_with_any_cell(data, tmp_path):
    rows = [line.split(",") for line in RESULTS.decode().splitlines()]
    cell = data.draw(st.text(max_size=8) | st.floats().map(str))
    data.draw(st.sampled_from(rows))[data.draw(st.integers(0, len(rows[0]) - 1))] = cell
    path = Path(tmp_path) / "results.csv"
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8", errors="replace")
    for run in one_line(csv_runs, path) or []:
        use(run)


@BOUNDED
@given(data=st.data())
def test_a_journal_of_an_earlier_version_with_any_value(data, tmp_path):
    """Its lines have no checksum."""
    lines = [json.loads(line) for line in journal_bytes().splitlines()]
    for line in lines:
        del line["crc"]
    number = data.draw(st.integers(0, len(lines) - 1))
    lines[number] = changed(data.draw, lines[number])
    path = Path(tmp_path) / "a.journal"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    one_line(read_journal, path)


@functools.cache
def a_run() -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and summary of a run in a sweep."""
    with tempfile.TemporaryDirectory() as folder:
        run = fake_run(Path(folder), "abcd1234", 0.1, sweep="a-sweep")
        config = yaml.safe_load((run / "config.yaml").read_text())
        return config, json.loads((run / "summary.json").read_text())


def use(record: RunRecord) -> None:
    """Read all that reports read of a run."""
    assert isinstance(record.project, str) and record.day == record.order[:10]
    for values in (record.dataset, record.last, record.best):
        assert isinstance(values, Mapping)
    if record.command in NETS:
        with suppress(InputError):
            tables_of([checked(record)])
    if isinstance(record, FolderRun):
        one_line(record.curve, "val/l1")
        one_line(record.examples)


@BOUNDED
@given(data=st.data())
def test_a_run_folder_with_any_value(data, tmp_path):
    config, summary = changed(
        data.draw, dict(zip(("config", "summary"), a_run(), strict=True))
    ).values()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    if run := one_line(read_run_folder, tmp_path):
        use(run)


@pytest.mark.parametrize("value", [5, ["a"]])
@pytest.mark.parametrize("name", ["name", "file"])
def test_a_sweeps_name_that_is_not_text_is_refused(name, value, tmp_path):
    config, summary = a_run()
    config = config | {"sweep": config["sweep"] | {name: value}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(InputError, match=f"sweep {name} is no text"):
        read_run_folder(tmp_path)


@BOUNDED
@given(data=st.data())
def test_server_responses_with_arbitrary_values(data):
    config, summary = a_run()
    answer = {
        "id": "abcd1234", "name": "a", "state": "finished", "entity": "e", "project": "p",
        "config": config, "summary_metrics": summary["last"] | {"seconds": 2.0, "state": None},
        "created_at": "2026-01-01T00:00:00", "url": "http://localhost/e/p", "sweep_name": None,
        "sweep": None,
    }  # fmt: skip
    answer = changed(data.draw, answer)
    for name in ("config", "summary_metrics"):  # W&B's client gives groups, and any values in them
        if not isinstance(answer[name], dict):
            answer[name] = {"dataset": answer[name]}
    run = SimpleNamespace(**answer)
    client = SimpleNamespace(runs=lambda *args, **options: [run])
    with mock.patch.object(api, "connect", lambda: client):
        for record in one_line(api.wandb_records, "e/p") or []:
            use(record)
