"""The processes that a sweep's command starts: workers, W&B's agents, runs of single points."""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import InputError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Command:
    """A process to start.

    A worker is given its job as ``line`` on stdin, and takes no further point once stdin is closed.
    """

    arguments: list[str]
    env: dict[str, str] = field(default_factory=dict)
    line: str | None = None
    count: int | None = None
    is_agent: bool = False
    point: str = ""  # the key of the point that it runs, where that is known beforehand


@dataclass
class Child:
    """A process that this command started."""

    number: int
    process: subprocess.Popen[bytes]
    log: Path
    command: Command
    stopped: bool = False

    def finish(self) -> None:
        """Ask it to end after the current run."""
        if self.process.stdin:
            self.process.stdin.close()
        elif self.command.is_agent:
            self.process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """Ask it to save the current run and end. Agents count Ctrl-C themselves."""
        self.stopped = True
        self.process.send_signal(signal.SIGINT if self.command.is_agent else signal.SIGTERM)

    def kill(self) -> None:
        """End it now, with the processes it started."""
        self.stopped = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Children:
    """Up to ``jobs`` processes, spread over ``gpus`` where some are given.

    Each has its own session, so that Ctrl-C reaches only the supervisor (see ``parent_death``).
    """

    def __init__(self, jobs: int, gpus: list[str], logs: Path, kind: str = "worker") -> None:
        self.jobs, self.gpus, self.logs, self.kind = jobs, gpus, logs, kind
        self.all: list[Child] = []

    def start(self, command: Command) -> None:
        """Start a child under the lowest free number; several share the cores."""
        number = min(set(range(self.jobs + 1)) - {child.number for child in self.all})
        log = self.logs / f"{self.kind}-{os.uname().nodename}-{os.getpid()}-{number}.log"
        self.logs.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        known = hasattr(os, "sched_getaffinity")  # Linux: the cores that this process may use
        cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
        env = {"OMP_NUM_THREADS": str(max(1, cores // self.jobs))} | os.environ | command.env
        env |= {"PYTHONPATH": path, "SWEEP_WORKER_LOG": str(log.resolve())}
        if self.gpus:
            env["CUDA_VISIBLE_DEVICES"] = self.gpus[number % len(self.gpus)]
        wrapper = [str(ROOT / "sweeps" / "parent_death.py"), str(os.getpid())]
        with open(log, "ab") as file:
            process = subprocess.Popen(
                [sys.executable, *wrapper, *command.arguments], env=env, stdout=file, stderr=file,
                stdin=subprocess.DEVNULL if command.line is None else subprocess.PIPE,
                cwd=ROOT if command.line is None else None, start_new_session=True,
            )  # fmt: skip
        self.all.append(Child(number, process, log, command))
        if process.stdin and command.line is not None:
            with contextlib.suppress(BrokenPipeError):  # the supervisor reports its exit
                process.stdin.write(command.line.encode())
                process.stdin.flush()

    def collect(self) -> list[Child]:
        """The children that have ended since the last call."""
        ended = [child for child in self.all if child.process.poll() is not None]
        self.all = [child for child in self.all if child not in ended]
        return ended


def gpu_list(text: str | None) -> list[str]:
    """``all`` or ``0,1`` as a list of device numbers; raises ``InputError`` for one not there."""
    if text is None:
        return []
    import torch

    there = [str(number) for number in range(torch.cuda.device_count())]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible and there:
        there = visible.replace(" ", "").split(",")
    wanted = there if text == "all" else text.replace(" ", "").split(",")
    if not there or not set(wanted) <= set(there):
        found = ", ".join(there) or "none (no CUDA device)"
        raise InputError(f"--gpus {text}: all or numbers such as 0,1; found here: {found}")
    return wanted
