"""Two CPU processes under torchrun: the same figures as one, and a restart from the checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from common.errors import InputError
from experiment import checkpoints as checkpoint
from experiment.run import run
from experiment.settings import Settings
from tests.conftest import ROOT, TINY, read_csv, summary_of
from tests.cut import only_run
from tests.test_nets import SMALL
from training.distributed import DistributedContext
from training.settings import HardwareSettings

pytestmark = pytest.mark.slow

# Without batch norm, whose statistics are each process's own on CPU.
OPTIONS = [
    *TINY, "--images", "512", "--mode", "disabled", "--precision", "fp32", "--lr", "0.01",
    "--bn-encoder", "none", "--bn-decoder", "none", "--checkpoint-every", "64",
]  # fmt: skip
# Rank 1 dies after eleven steps, the first time.
LOSSY = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
from train import main
from training.trainer import Trainer
step = Trainer.train_step
def dying(self):
    step(self)
    if (self.step, self.ranks.rank, os.environ["TORCHELASTIC_RESTART_COUNT"]) == (11, 1, "0"):
        os.kill(os.getpid(), signal.SIGKILL)
Trainer.train_step = dying
main()
"""

# Each net in turn, in a process group of its own.
EVERY_NET = """
import json, os, sys
sys.path.insert(0, sys.argv.pop(1))
from experiment.run import run
from experiment.settings import Settings
for number, (command, options) in enumerate(json.loads(sys.argv[1]).items()):
    os.environ["TORCHELASTIC_RESTART_COUNT"] = str(number)
    run(Settings.parse(command, options), observer=lambda row: None)
"""
WITHOUT_BATCH_NORM = ("convnext", "nafnet", "rednet", "vit")  # whose statistics are each process's
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def metrics_of(folder: Path) -> list[dict[str, float]]:
    rows = read_csv(folder / "metrics.csv")
    return [{k: float(v) for k, v in r.items() if v and not k.startswith("perf/")} for r in rows]


def test_two_processes_with_one_killed_equal_one_process(cli, tmp_path):
    assert cli("resconv", *OPTIONS, "--runs-dir", "one").code == 0
    script = tmp_path / "lossy.py"
    script.write_text(LOSSY)
    command = [*TORCHRUN, "--max-restarts=1", script, ROOT, "resconv", *OPTIONS]
    done = subprocess.run(
        list(map(str, [*command, "--runs-dir", "two"])), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    folder = only_run(Path("two"))
    # Rank 1 can be one step ahead when it dies: rank 0 has then saved after step 10.
    assert f"Resuming {folder} at image 320" in done.stdout
    assert done.stdout.count("run folder  ") == 1
    assert summary_of(folder)["state"] == "finished"
    for row, wanted in zip(metrics_of(folder), metrics_of(only_run(Path("one"))), strict=True):
        assert row == pytest.approx(wanted, rel=1e-4)
    last = [f / "checkpoints" / "last.pt" for f in (folder, only_run(Path("one")))]
    nets = [checkpoint.load(path)["model"] for path in last]
    for name, tensor in nets[0].items():
        torch.testing.assert_close(tensor, nets[1][name], rtol=1e-3, atol=1e-5)


def test_every_net_trains_in_two_processes_as_in_one(tmp_path):
    (script := tmp_path / "every_net.py").write_text(EVERY_NET)
    shared = {
        "data": "garments", "size": 12, "train_images": 64, "val_images": 40, "images": 64,
        "batch_size": 32, "mode": "disabled", "precision": "fp32", "device": "cpu",
    }  # fmt: skip
    nets = {command: shared | options for command, options in SMALL.items()}
    for command, options in nets.items():
        run(Settings.parse(command, options | {"runs_dir": f"one/{command}"}), observer=repr)
        options["runs_dir"] = f"two/{command}"
    done = subprocess.run(
        list(map(str, [*TORCHRUN, script, ROOT, json.dumps(nets)])),
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for command in nets:
        one, two = (only_run(Path(folder) / command) for folder in ("one", "two"))
        assert summary_of(two)["state"] == "finished"
        if command in WITHOUT_BATCH_NORM:
            for row, wanted in zip(metrics_of(two), metrics_of(one), strict=True):
                assert row == pytest.approx(wanted, rel=1e-3), command


def test_processes_that_would_share_one_gpu_are_refused():
    ranks = DistributedContext(rank=1, size=2, local_rank=1)
    with pytest.raises(InputError, match="--device cuda:0: the 2 processes need a GPU each"):
        ranks.assign_device(HardwareSettings(device="cuda:0"), batch_size=8)
    assert ranks.assign_device(HardwareSettings(device="cuda"), 8).device == "cuda:1"


def test_a_process_ends_its_group_after_its_last_reduction(monkeypatch):
    done: list[str] = []
    group = "training.distributed.distributed."
    meeting = iter([(None, 0, 2)])
    monkeypatch.setattr("training.distributed.rendezvous", lambda address: meeting)
    monkeypatch.setattr("training.distributed.PrefixStore", lambda prefix, store: store)
    monkeypatch.setattr(group + "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(group + "destroy_process_group", lambda: done.append("ended"))
    ranks = DistributedContext(rank=0, size=2)
    with ranks.connected(torch.device("cpu")):
        ranks._pending = torch.zeros(1), SimpleNamespace(wait=lambda: done.append("waited"))
    assert done == ["waited", "ended"]
