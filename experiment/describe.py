"""What is said about a run: its config, its summary, its results row, why it failed."""

from __future__ import annotations

import errno
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from common.errors import RunError
from common.media import Table
from experiment.command import command_line
from tasks.base import Task
from training.hardware import Hardware, environment

if TYPE_CHECKING:
    from training.trainer import Training

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
GIT_SECONDS = 10  # a checkout on a dead network drive would be waited for without end
ROOT = Path(__file__).resolve().parent.parent


def run_config(task: Task, hardware: Hardware, network: dict[str, Any]) -> dict[str, Any]:
    """All of ``run.config``: every setting, the data set with its checksum, network, versions."""
    data = task.data
    return task.settings.to_config() | {
        "task": task.settings.task,
        "fingerprint": task.settings.fingerprint(),
        "dataset": {
            "name": data.name,
            "checksum": data.checksum,
            "source": data.source,
            "train": len(data.train),
            "val": len(data.val),
            "test": len(data.test) if data.test else 0,
            "image_channels": data.train.images.shape[1],
            "classes": list(data.class_names),
            "skipped": data.skipped,
            "fallback_reason": data.fallback_reason,
            "remarks": list(data.remarks),
        },
        "network": network,
        "environment": environment(hardware) | {"commit": _commit(), "command": _command(task)},
    }


def _commit() -> str | None:
    """The project's git commit, with ``+`` if there are changes; None outside a checkout."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=GIT_SECONDS
        )
        changes = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, timeout=GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("+" if changes.stdout else "")


def _command(task: Task) -> str:
    """What was typed, or what could have been where another program (a sweep's worker) runs."""
    program = Path(sys.argv[0]).name
    if program == "train.py":
        return shlex.join(["python", program, *sys.argv[1:]])
    return command_line(task.settings.task, task.settings.to_config())


def results_table(config: Mapping[str, Any], summary: Mapping[str, Any]) -> Table:
    """One row: settings, countable facts and figures, to be joined across runs."""
    plain = (int, float, str, bool)
    row = {key: summary[key] for key in ("run_id", "name", "task")}
    row |= {"data_used": config["dataset"]["name"], "fingerprint": config["fingerprint"]}
    row |= {k: v for k, v in config.items() if isinstance(v, plain) and k not in row}
    row |= {k: v for k, v in config["network"].items() if isinstance(v, plain)}
    row |= {k: summary[k] for k in ("seconds", "training_seconds", "images_per_second")}
    row |= {k: v for k, v in summary["last"].items() if k.startswith(("val/", "test/"))}
    row |= {f"best {k}": v for k, v in summary["best"].items() if k.startswith("val/")}
    return Table("results", tuple(row), [tuple(row.values())])


def run_summary(training: Training, config: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What ``summary.json`` says of the work done; the rest of it is added by the run."""
    speed = training.images_seen / training.watch.seconds if training.watch.seconds else 0.0
    return {
        "run_id": config["run_id"],
        "name": config["run_name"],
        "task": config["task"],
        **{k: v for k, v in config["network"].items() if isinstance(v, int)},
        "seconds": round(seconds, 3),
        "training_seconds": round(training.watch.seconds, 3),
        "images_seen": training.images_seen,
        "images_total": training.steps * training.settings.batch_size,
        "images_per_second": round(speed, 1),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has changed between two environments of run configs, a line each."""
    ignored = ("command", "platform", "python")
    keys = [k for k in before | now if k not in ignored and before.get(k) != now.get(k)]
    return [f"{k} {now.get(k)}, was {before.get(k)}" for k in keys]


def explain(error: BaseException, last_good: Path | None) -> BaseException:
    """``error``, or a ``RunError`` of one line where the reason and what to do are known."""
    kept = f"; last good checkpoint: {last_good}" if last_good else "; no checkpoint was written"
    text = str(error)
    if isinstance(error, RunError):
        return RunError(text + kept)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        return RunError(
            "out of memory; lower --batch-size, --size, --ch or --layers, or use "
            f"--checkpoint-activations{kept}"
        )
    if isinstance(error, RuntimeError) and ("gloo" in text or "NCCL" in text):
        reason = "another process of this run is gone; torchrun --max-restarts 3 would go on"
        return RunError(reason + kept)
    if isinstance(error, OSError) and error.errno in FULL:
        return RunError(f"the disk is full ({error.filename or 'while writing'}){kept}")
    return error
