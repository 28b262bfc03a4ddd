"""A run that hangs is named, with the stacks of all threads, and ended where that is asked for."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiment.watchdog import EXIT_CODE, Watchdog
from tests.adapters import Trainer
from tests.conftest import ROOT, TINY, summary_of
from tests.cut import only_run

# A run whose rank named first sleeps in its sixth step, the first time.
SLEEPY = """
import os, sys, time
import torch._dynamo  # else imported in the first step
root, rank = sys.argv[1:3]
del sys.argv[1:3]
sys.path.insert(0, root)
from train import main
from tasks.restoration import Restoration
prepare, calls = Restoration.prepare, []
def sleeping(self, batch):
    calls.append(0)
    first = "resume" not in " ".join(sys.argv)
    if len(calls) == 6 and os.environ.get("RANK", "0") == rank and first:
        time.sleep(600)
    return prepare(self, batch)
Restoration.prepare = sleeping
main()
"""
OPTIONS = [
    *TINY, "--mode", "disabled", "--precision", "fp32", "--hang-after", "6",
    "--hang-action", "stop", "--checkpoint-every", "64",
    "--bn-encoder", "none", "--bn-decoder", "none",
]  # fmt: skip


def test_the_hang_limit_is_ten_medians_and_at_least_a_minute(tiny_data, tmp_path):
    trainer = Trainer("resconv", tiny_data, batch_size=16).real
    watchdog = Watchdog(trainer, tmp_path)
    assert watchdog.bound("train") == 1800
    for seconds, bound in ((0.1, 60), (0.3, 60), (30, 60), (40, 151.5)):
        watchdog.durations["train"].append(seconds)
        assert watchdog.bound("train") == pytest.approx(bound)
    assert watchdog.bound("validate") == 1800
    assert Watchdog(trainer, tmp_path, 300).bound("train") == 300


@pytest.mark.slow
def test_a_hang_is_reported_once_with_all_stacks(tiny_data, tmp_path):
    trainer = Trainer("resconv", tiny_data, batch_size=16).real
    file = tmp_path / "hang-rank0.txt"
    watchdog = Watchdog(trainer, tmp_path, 1)
    with watchdog.watching():
        for _ in range(4):  # as long as it goes on, nothing hangs
            time.sleep(0.4)
            trainer.step += 1
        assert not file.exists()
        trainer.phase = "validate"
        end = time.monotonic() + 30
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.1)
    text = file.read_text()
    assert text.startswith("rank 0 at tests/test_watchdog.py line ")
    assert "validate after step 4 has taken" in text
    assert "test_a_hang_is_reported_once_with_all_stacks" in text and "watchdog.py" in text
    assert len(text.split("Current thread")) == 2
    with Watchdog(trainer, tmp_path, 0).watching():
        assert file.exists(), "0 watches nothing"


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_hang_ends_as_preempted_and_the_slow_rank_is_reported(processes, tmp_path):
    script = tmp_path / "sleepy.py"
    script.write_text(SLEEPY)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    launch = [sys.executable, *(torchrun if processes == 2 else []), script, ROOT, processes - 1]
    command = [str(x) for x in (*launch, "resconv", *OPTIONS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    folder = only_run(Path("runs"))
    summary = summary_of(folder)
    assert summary["state"] == "preempted" and summary["reason"].startswith("it hung: train after")
    assert "prepare" not in summary["reason"] or processes == 1
    said = done.stdout + done.stderr
    assert "the run hangs: train after step 5" in said
    if processes == 1:
        assert done.returncode == EXIT_CODE
        assert "trainer.py line" in said and "(sleeping)" in said
    else:
        assert done.returncode != 0 and "slow: rank 1 at training/trainer.py" in said
    stacks = (folder / f"hang-rank{processes - 1}.txt").read_text()
    assert "sleepy.py" in stacks and "train_step" in stacks
    again = subprocess.run([*command, "--resume", "auto"], capture_output=True, text=True)
    assert again.returncode == 0 and "at image 128" in again.stdout, again.stderr[-2000:]
    assert not list(folder.glob("hang-*")), "else it would be taken for a new one"
    summary = summary_of(folder)
    assert summary["state"] == "finished" and summary["time"]["lost"] > 3
    assert summary["goodput"] < 0.9
