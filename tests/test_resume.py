"""Interrupted equals uninterrupted, at tolerance 0, wherever the run was cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from common.errors import InputError
from experiment import checkpoints as checkpoint
from experiment import resume
from experiment.settings import Settings
from tests.conftest import TINY_OPTIONS, read_csv, summary_of
from tests.cut import assert_same_tensors, only_run, run_in_child
from tracking.folder import RunFolder

pytestmark = pytest.mark.slow

# 16 steps, validations after 8 and 16, rows every third step, saves every second.
RESCONV = TINY_OPTIONS | {"images": 512, "mode": "disabled", "checkpoint_every": 64, "act": "rrelu"}
CLASSIFY = RESCONV | {"conv": "select", "deterministic": True, "dropout": 0.5, "cutout": 3}
for name in ("layers", "ch", "act"):
    del CLASSIFY[name]
CUTS = [
    ("step", 1), ("replace", 5), ("step", 3), ("row", 1), ("replace", 4), ("step", 1),
    ("replace", 3), ("row", 2), ("end", 1),
]  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    """A CSV without what a clock or the memory said."""
    timed = ("perf/", "seconds", "training_seconds", "images_per_second")
    timed += ("started_at", "run_id", "name", "resume", "runs_dir")  # and what is another by right
    return [{k: v for k, v in row.items() if not k.startswith(timed)} for row in read_csv(path)]


def assert_same_runs(folder: Path, other: Path) -> None:
    assert rows_of(folder / "metrics.csv") == rows_of(other / "metrics.csv")
    files = sorted(p.relative_to(other) for p in other.rglob("*.*") if p.is_file())
    assert files == sorted(p.relative_to(folder) for p in folder.rglob("*.*") if p.is_file())
    for file in files:
        if file.suffix == ".png":
            assert (folder / file).read_bytes() == (other / file).read_bytes(), file
        if file.suffix == ".csv":
            assert rows_of(folder / file) == rows_of(other / file), file
    for name in ("last.pt", "best.pt"):
        saved, wanted = (checkpoint.load(f / "checkpoints" / name) for f in (folder, other))
        for contents in (saved, wanted):
            contents.pop("seconds", None)
            contents.pop("times", None)
            contents.pop("metrics", None)  # a checksum, also of measured times
            for name in ("seconds", "validation_seconds"):
                contents.get("training", {}).pop(name, None)
            contents.pop("config")
            last = contents.pop("last", {})
            contents["last"] = {k: v for k, v in last.items() if not k.startswith("perf/")}
        assert_same_tensors(saved, wanted)


@pytest.mark.parametrize(("task", "options"), [("resconv", RESCONV), ("classify", CLASSIFY)])
def test_a_run_killed_nine_times_equals_an_uninterrupted_one(task, options, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_in_child(task, options | {"runs_dir": str(whole)}) == 0
    for place, count in CUTS if task == "resconv" else CUTS[::2]:
        again = options | {"runs_dir": str(cut), "resume": "auto"}
        assert run_in_child(task, again, place, count) == -9, (place, count)
        assert summary_of(only_run(cut))["state"] == "running"
    assert run_in_child(task, options | {"runs_dir": str(cut), "resume": "auto"}) == 0
    assert_same_runs(only_run(cut), only_run(whole))
    assert summary_of(only_run(cut))["state"] == "finished"
    if task == "resconv":
        after_validation = options | {"runs_dir": str(tmp_path / "shown"), "resume": "auto"}
        assert run_in_child(task, after_validation, "saved", 4) == -9
        assert run_in_child(task, after_validation) == 0
        assert_same_runs(only_run(tmp_path / "shown"), only_run(whole))
    # What is finished is not gone on with: the same command begins anew.
    assert run_in_child(task, options | {"runs_dir": str(cut), "resume": "auto"}, "step", 1) == -9
    assert len(list(cut.iterdir())) == 2


def killed_in_the_middle(tmp_path: Path, **options: object) -> Path:
    """The folder of a run that was killed after its tenth step."""
    options = RESCONV | {"runs_dir": str(tmp_path / "runs")} | options
    assert run_in_child("resconv", options, "step", 11) == -9
    return only_run(tmp_path / "runs")


def test_a_damaged_or_foreign_checkpoint_is_reported_and_the_previous_one_used(cli, tmp_path):
    folder = killed_in_the_middle(tmp_path)
    last, previous = (folder / "checkpoints" / f"{name}.pt" for name in ("last", "previous"))
    steps = [checkpoint.load(path)["training"]["step"] for path in (last, previous)]
    assert steps == [10, 8]
    whole = last.read_bytes()
    foreign = checkpoint.load(previous)
    foreign["config"]["run_id"] = "another1"

    last.write_bytes(whole[: len(whole) // 2])
    outcome = cli("resconv", "--resume", folder)
    assert outcome.code == 0
    assert f"{last}: not a whole checkpoint" in outcome.out
    assert f"Resuming {folder} at image 256" in outcome.out

    checkpoint.save(last, foreign)
    previous.write_text("not a checkpoint")
    (folder / "summary.json").unlink()
    outcome = cli("resconv", "--resume", folder)
    assert outcome.code == 2
    [line] = outcome.err.splitlines()
    assert f"{last}: a checkpoint of another run, another1" in line
    assert f"{previous}: not a whole checkpoint" in line


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_any_damage_to_a_checkpoint_is_an_input_error(damage, tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"config": {"run_id": "a"}, "model": {"w": torch.arange(500.0)}})
    whole = path.read_bytes()
    wanted = checkpoint.load(path)
    for place in range(0, len(whole), 23):
        damaged = whole[:place] if damage == "cut" else bytearray(whole)
        if damage == "flip":
            damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            found = checkpoint.load(path)
        except InputError as error:
            assert str(path) in str(error)
        else:  # bytes that carry nothing: padding, dates
            assert_same_tensors(found, wanted)


def test_a_run_is_resumed_by_folder_or_id_and_only_with_its_own_settings(cli, tmp_path):
    folder = killed_in_the_middle(tmp_path, checkpoint_every="none")
    run_id = folder.name[-8:]
    there = ["--runs-dir", folder.parent]
    refused = {
        "nothere1": "no such run",
        run_id + " --lr 0.5": "--lr 0.5 (was 0.0003)",
        run_id + " --layers 3": "--layers 3 (was 2)",
        run_id + " --data-root /nowhere --data folder": "--data folder (was garments)",
    }
    for text, message in refused.items():
        outcome = cli("resconv", "--resume", *text.split(), *there)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
        assert message in outcome.err
    outcome = cli("classify", "--resume", folder)
    assert outcome.code == 2
    assert "a run of resconv, not of classify" in outcome.err

    holder = RunFolder(folder)
    assert holder.lock()
    outcome = cli("resconv", "--resume", folder)
    assert "another process is working on this run" in outcome.err
    holder.unlock()

    config = yaml.safe_load((folder / "config.yaml").read_text())
    changed = config | {"dataset": config["dataset"] | {"checksum": "0" * 64}}
    (folder / "config.yaml").write_text(yaml.safe_dump(changed))
    assert "the data have changed since" in cli("resconv", "--resume", folder).err
    (folder / "config.yaml").write_text(yaml.safe_dump(config))

    outcome = cli("resconv", "--resume", run_id, *there)
    assert outcome.code == 0, outcome.err
    assert f"Resuming {folder} at image 256" in outcome.out
    assert only_run(folder.parent) == folder
    assert "the run is finished" in cli("resconv", "--resume", folder).err


def test_an_option_that_has_a_later_version_cannot_be_changed_either(cli, tmp_path):
    options = {name: RESCONV[name] for name in RESCONV if name not in ("ch", "act")}
    options |= {"width": 8, "runs_dir": str(tmp_path)}
    assert run_in_child("rednet", options, "step", 3) == -9
    outcome = cli("rednet", "--resume", only_run(tmp_path), "--layers", 3)
    assert outcome.code == 2 and "--layers 3 (was 2)" in outcome.err


def test_a_run_that_finishes_during_the_search_is_not_resumed(tmp_path, monkeypatch):
    folder = killed_in_the_middle(tmp_path)
    settings = Settings.parse("resconv", RESCONV | {"runs_dir": str(folder.parent)})
    lock = RunFolder.lock

    def lock_at_its_end(self: RunFolder) -> bool:
        self.write_summary(summary_of(folder) | {"state": "finished"})
        return lock(self)

    monkeypatch.setattr(RunFolder, "lock", lock_at_its_end)
    assert resume.find(settings.replace(resume="auto")) is None
    (folder / "summary.json").write_text(
        (folder / "summary.json").read_text().replace("finished", "running")
    )
    with pytest.raises(InputError, match="the run is finished"):
        resume.find(settings.replace(resume=str(folder)))
    monkeypatch.undo()
    assert RunFolder(folder).lock(), "it was unlocked again"


def test_a_run_killed_before_its_folder_was_renamed_starts_again(tmp_path):
    options = RESCONV | {"runs_dir": str(tmp_path), "resume": "auto"}
    assert run_in_child("resconv", options, "rename", 1) == -9
    [hidden] = tmp_path.iterdir()
    assert hidden.name.startswith(".") and (hidden / "config.yaml").exists()
    assert run_in_child("resconv", options) == 0
    assert summary_of(only_run(tmp_path))["state"] == "finished"


def test_a_checkpoint_is_due_by_images_or_by_minutes(monkeypatch):
    now = 0.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    by_images, by_time = checkpoint.SaveSchedule(100, 0), checkpoint.SaveSchedule("2m", 0)
    assert [by_images.is_due(seen) for seen in (64, 128)] == [False, True]
    by_images.saved(128)
    assert [by_images.is_due(seen) for seen in (192, 256)] == [False, True]
    assert not by_time.is_due(10**9)
    now = 120.0
    assert by_time.is_due(1)
    by_time.saved(1)
    assert not by_time.is_due(2)
    assert not checkpoint.SaveSchedule(None, 0).is_due(10**9)
