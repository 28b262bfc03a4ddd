"""Run config, results row, changed environments and failure messages."""

import contextlib
import errno
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from common.errors import RunError
from common.media import Table
from common.options import flag
from data.images import ImageData
from experiment.identity import identity
from experiment.settings import Settings, command_line, options_of
from models.registry import NETS
from tracking.folder import RunFolder
from training.hardware import Hardware, environment

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ROOT = Path(__file__).resolve().parent.parent
GIT_SECONDS = 10
LOWERED = ("batch_size", "size", "ch", "width", "layers")  # where memory is short


def run_config(
    settings: Settings, data: ImageData, hardware: Hardware, network: dict[str, Any]
) -> dict[str, Any]:
    """All of ``run.config``: every option, the data set with its checksum, network, versions."""
    return settings.flat() | {
        "command": settings.command,
        "task": settings.task_name,
        "identity": identity(settings),
        "dataset": {
            "name": data.name,
            "checksum": data.checksum,
            "source": data.source,
            "train": len(data.train),
            "val": len(data.val),
            "test": 0 if data.test is None else len(data.test),
            "image_channels": data.train.images.shape[1],
            "classes": list(data.class_names),
            "skipped": data.skipped,
            "remarks": list(data.remarks),
            "fallback_reason": data.fallback_reason,
        },
        "network": network,
        "environment": environment(hardware) | {"commit": _commit(), "command": _typed(settings)},
    }


def _commit() -> str | None:
    """The project's git commit, with ``+`` if there are changes; None outside a checkout."""
    words = ["describe", "--always", "--exclude=*", "--abbrev=64", "--dirty=+"]
    command = ["git", "-C", str(ROOT), *words]
    try:
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, timeout=GIT_SECONDS
        ).strip()
    except (FileNotFoundError, subprocess.SubprocessError):
        return None


def _typed(settings: Settings) -> str:
    """The command line, or an equivalent one for sweep workers."""
    program = Path(sys.argv[0]).name
    if program == "train.py":
        return shlex.join(["python", program, *sys.argv[1:]])
    return command_line(settings.command, settings.flat())


def results_table(config: Mapping[str, Any], summary: Mapping[str, Any]) -> Table:
    """One row: settings, counts and figures, to be joined across runs."""
    plain = (int, float, str, bool)
    row = {key: summary[key] for key in ("run_id", "name", "command", "task")}
    row |= {"data_used": config["dataset"]["name"], "identity": config.get("identity")}
    left_out = {*row, "started_at"}
    row |= {k: v for k, v in config.items() if isinstance(v, plain) and k not in left_out}
    row |= {k: v for k, v in config["network"].items() if isinstance(v, plain)}
    row |= {k: summary[k] for k in ("seconds", "training_seconds", "images_per_second")}
    row |= {k: v for k, v in summary["last"].items() if k.startswith(("val/", "test/"))}
    row |= {f"best {k}": v for k, v in summary["best"].items() if k.startswith("val/")}
    return Table("results", tuple(row), [tuple(row.values())])


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What has changed between two environments of run configs, a line each."""
    ignored = ("command", "platform", "precision_probe", "python")
    both = [key for key in before if key in after and key not in ignored]
    return [f"{k} {after[k]}, was {before[k]}" for k in both if before[k] != after[k]]


@contextlib.contextmanager
def explained(command: str, folder: Path | None) -> Iterator[None]:
    """``with``: an error whose reason is known becomes a ``RunError`` of one line.

    The line ends with the last checkpoint in the run's ``folder``.
    """
    try:
        yield
    except BaseException as error:
        last = RunFolder(folder).checkpoints / "last.pt" if folder else None
        failure = explain(error, command, last if last and last.exists() else None)
        if failure is error:
            raise
        raise failure from error


def explain(error: BaseException, command: str, last_good: Path | None) -> BaseException:
    """``error``, or a ``RunError`` of one line where the reason and the remedy are known."""
    kept = f"; last good checkpoint: {last_good}" if last_good else "; no checkpoint was written"
    reason = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in reason:
        lowered = ("train_images", "size") if NETS[command].fitted else LOWERED
        known = [name for name in lowered if name in options_of(command)]
        reason = f"out of memory; lower {', '.join(map(flag, known))}"
        if "checkpoint_activations" in options_of(command):
            reason += " or use --checkpoint-activations"
    elif isinstance(error, RuntimeError) and ("gloo" in reason or "NCCL" in reason):
        reason = "another process of this run has ended; torchrun --max-restarts 3 restarts all"
    elif isinstance(error, OSError) and error.errno in DISK_FULL:
        reason = f"the disk is full ({error.filename or 'while writing'})"
    elif not isinstance(error, RunError):
        return error
    return RunError(reason + kept)
