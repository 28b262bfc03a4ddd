"""Stopped by a signal, by numbers that break, by memory or disk that ends: said, saved, marked."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiment import checkpoints as checkpoint
from experiment.recorder import Recorder
from tests.conftest import ROOT, TINY, summary_of
from tests.cut import only_run, run_in_child
from tests.test_resume import RESCONV, assert_same_runs
from training.trainer import Trainer

pytestmark = pytest.mark.slow

OFF = [*TINY, "--mode", "disabled"]


def after_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> None:
    """Do something between the steps ``step`` and ``step + 1`` of a run in this process."""
    original = Recorder.after_step

    def acting(self: Recorder, trainer: Trainer) -> None:
        if trainer.step == step:
            act()
        original(self, trainer)

    monkeypatch.setattr(Recorder, "after_step", acting)


@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130), ("SIGUSR1", 138), ("SIGXCPU", 152)],
)
def test_a_signal_finishes_the_step_saves_and_exits_with_its_code(name, code, cli, monkeypatch):
    after_step(monkeypatch, 5, lambda: os.kill(os.getpid(), getattr(signal, name)))
    outcome = cli("resconv", *OFF)
    assert (outcome.code, outcome.err) == (code, "")
    folder = only_run(Path("runs"))
    assert f"the same command and --resume {folder}" in outcome.out
    assert summary_of(folder)["state"] == "preempted"
    assert summary_of(folder)["reason"] == f"stopped by {name}"
    assert checkpoint.load(folder / "checkpoints" / "last.pt")["training"]["step"] == 5
    assert signal.getsignal(getattr(signal, name)) in (signal.SIG_DFL, signal.default_int_handler)


def test_under_nohup_a_closed_terminal_does_not_stop_the_run(cli, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        after_step(monkeypatch, 5, lambda: os.kill(os.getpid(), signal.SIGHUP))
        assert cli("resconv", *OFF).code == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert summary_of(only_run(Path("runs")))["state"] == "finished"


def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one_and_a_second_sigint_ends_it(
    tmp_path,
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_in_child("resconv", RESCONV | {"runs_dir": str(whole)}) == 0
    again = RESCONV | {"runs_dir": str(cut), "resume": "auto"}
    assert run_in_child("resconv", again, "term", 5) == 143
    assert run_in_child("resconv", again, "interrupt", 3) == 130
    folder = only_run(cut)
    assert summary_of(folder)["state"] == "running"  # the second SIGINT left no time to say more
    assert run_in_child("resconv", again) == 0
    assert_same_runs(folder, only_run(whole))


def test_a_closed_output_pipe_does_not_stop_the_run():
    command = [sys.executable, str(ROOT / "train.py"), "resconv", *OFF]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()  # like ``| head -1``: the next line meets a broken pipe
        assert (process.stderr.read(), process.wait()) == (b"", 0)
    summary = summary_of(only_run(Path("runs")))
    assert (summary["state"], summary["images_seen"]) == ("finished", 256)


def break_loss(monkeypatch: pytest.MonkeyPatch, step: int, value: float) -> None:
    """The loss of training step ``step`` (from 1) is ``value``."""
    original = Trainer.train_step

    def breaking(self: Trainer) -> None:
        if self.step + 1 == step:
            self.task.losses = lambda outputs, sample: {"l1": outputs.mean() * value}
        original(self)

    monkeypatch.setattr(Trainer, "train_step", breaking)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_non_finite_loss_stops_the_run_before_a_weight_changes(value, cli, monkeypatch):
    break_loss(monkeypatch, 13, value)
    outcome = cli("resconv", *OFF, "--images", 512, "--log-every", 5, "--checkpoint-every", 448)
    assert outcome.code == 1
    folder = only_run(Path("runs"))
    [line] = outcome.err.splitlines()
    assert line.startswith("Error: the loss became NaN or infinite at step 13 of 16 (learning rate")
    assert line.endswith(f"last good checkpoint: {folder / 'checkpoints' / 'last.pt'}")
    saved = checkpoint.load(folder / "checkpoints" / "last.pt")
    assert saved["training"]["step"] == 8  # the save due at step 14 was refused
    assert all(t.isfinite().all() for t in saved["model"].values())
    summary = summary_of(folder)
    assert (summary["state"], summary["reason"]) == ("failed", line.removeprefix("Error: "))
    assert all(map(math.isfinite, summary["last"].values()))
    assert "nan" not in (folder / "metrics.csv").read_text()


def test_in_wandb_a_non_finite_run_is_failed_and_its_sweep_metric_finite(cli, monkeypatch, server):
    break_loss(monkeypatch, 10, float("nan"))
    assert cli("resconv", *TINY, "--images", 512, "--mode", "online").code == 1
    [found] = server.runs
    assert (found.state, found.exit_code) == ("failed", 1)
    assert "NaN or infinite at step 10" in found.summary["reason"]
    assert 0 < found.summary["val/l1"]["min"] < 1
    assert "NaN" not in json.dumps(found.rows)


def test_out_of_memory_is_one_line_naming_what_to_lower(cli, monkeypatch):
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nGPU 0 has")

    after_step(monkeypatch, 5, full)
    outcome = cli("resconv", *OFF)
    assert outcome.code == 1
    assert outcome.err == (
        "Error: out of memory; lower --batch-size, --size, --ch, --layers or use "
        "--checkpoint-activations; no checkpoint was written\n"
    )


def test_memory_that_the_system_refuses_is_out_of_memory(cli):
    huge = ["--size", 512, "--batch-size", 256, "--val-images", 1, "--precision", "fp32"]
    limits = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 300 * 2**20, limits[1]))
    try:
        outcome = cli("resconv", *OFF, *huge)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert outcome.code == 1
    [line] = outcome.err.splitlines()
    assert line.startswith("Error: out of memory; lower --batch-size")


def test_a_full_disk_stops_the_run_with_one_line_and_the_last_good_checkpoint(cli, monkeypatch):
    size = 0

    def fill() -> None:
        """From here on no file may grow past a few bytes, as on a full disk."""
        nonlocal size
        size = (only_run(Path("runs")) / "checkpoints" / "last.pt").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        after_step(patch, 10, fill)
        try:
            outcome = cli("resconv", *OFF, "--images", 512, "--checkpoint-every", 64)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    folder = only_run(Path("runs"))
    last = folder / "checkpoints" / "last.pt"
    assert outcome.code == 1
    [line] = outcome.err.splitlines()
    assert line.startswith(f"Error: the disk is full ({last})")
    assert line.endswith(f"last good checkpoint: {last}")
    assert last.stat().st_size == size
    assert checkpoint.load(last)["training"]["step"] == 8
    assert not list(folder.rglob(".*.part"))
    assert cli("resconv", "--resume", folder).code == 0
    assert summary_of(folder)["state"] == "finished"
