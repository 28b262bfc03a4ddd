"""The sweep's end of its worker processes: start them, order runs, hear news, see them die."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import InputError
from sweeps.study import Claim

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Hand:
    """One worker process and what it is doing."""

    name: str
    process: subprocess.Popen
    log: Path
    state: str = "starting"  # then "ready"; "leaving" after a failed run
    claim: Claim | None = None
    since: float = 0.0
    event: dict[str, Any] = field(default_factory=dict)
    unread: bytes = b""

    @property
    def seconds(self) -> float:
        """Since the run in hand began."""
        return time.monotonic() - self.since

    def order(self, claim: Claim, order: dict[str, Any]) -> None:
        """Start a run."""
        self.claim, self.since, self.event = claim, time.monotonic(), {}
        self._write(order)

    def stop_early(self) -> None:
        """End the run in hand at its next sign of life, as finished."""
        self._write({"stop": True})

    def _write(self, order: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died: the end of its news says so
            self.process.stdin.write((json.dumps(order) + "\n").encode())
            self.process.stdin.flush()

    def death(self) -> tuple[str, bool]:
        """Why the process ended, and whether a signal from outside ended it."""
        code = self.process.wait()
        if code >= 0:
            return f"the worker ended with exit code {code}; see {self.log}", False
        name = signal.Signals(-code).name
        hints = {"SIGKILL": " (out of memory?)", "SIGTERM": "", "SIGINT": ""}
        hint = hints.get(name, f"; see {self.log}")
        return f"the worker was killed by {name}{hint}", name in hints


class Crew:
    """Up to ``jobs`` worker processes, spread over ``gpus`` where some are given.

    They live in sessions of their own, so that Ctrl-C reaches only the sweep, which decides.
    """

    def __init__(self, jobs: int, gpus: list[str], log_dir: Path) -> None:
        self.jobs, self.gpus, self.log_dir = jobs, gpus, log_dir
        self.hands: list[Hand] = []
        self._selector = selectors.DefaultSelector()

    def start_missing(self, wanted: int) -> None:
        """Have ``wanted`` workers, at most ``jobs``."""
        names = {hand.name for hand in self.hands}
        free = [number for number in range(self.jobs) if str(number) not in names]
        for number in free[: max(0, min(wanted, self.jobs) - len(names))]:
            self._start(number)

    def _start(self, number: int) -> None:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        log = self.log_dir / f"worker-{os.uname().nodename}-{number}.log"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        env = os.environ | {"PYTHONPATH": path} | thread_share(self.jobs)
        if self.gpus:
            env["CUDA_VISIBLE_DEVICES"] = self.gpus[number % len(self.gpus)]
        with open(log, "ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "sweeps.worker"], env=env, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=file, start_new_session=True,
            )  # fmt: skip
        hand = Hand(str(number), process, log)
        self.hands.append(hand)
        self._selector.register(process.stdout, selectors.EVENT_READ, hand)

    def news(self, seconds: float) -> Iterator[tuple[Hand, dict[str, Any] | None]]:
        """What workers say within ``seconds``; None when one has ended (it is then let go)."""
        for key, _ in self._selector.select(seconds):
            hand: Hand = key.data
            data = os.read(hand.process.stdout.fileno(), 1 << 16)
            *lines, hand.unread = (hand.unread + data).split(b"\n")
            for line in lines:
                yield hand, json.loads(line)
            if not data:
                self._let_go(hand)
                yield hand, None

    def _let_go(self, hand: Hand) -> None:
        self._selector.unregister(hand.process.stdout)
        self.hands.remove(hand)
        hand.process.stdout.close()

    def end(self) -> None:
        """End every worker now, with the processes it started."""
        for hand in list(self.hands):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(hand.process.pid, signal.SIGKILL)
            self._let_go(hand)
            hand.process.wait()


def thread_share(jobs: int) -> dict[str, str]:
    """Cores shared fairly among ``jobs`` processes, unless the user has set the number."""
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    known = hasattr(os, "sched_getaffinity")  # Linux: the cores that this process may use
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // jobs))}


def gpu_list(text: str | None) -> list[str]:
    """``all`` or ``0,1`` as a list of device numbers; raises ``InputError`` for one not there."""
    if text is None:
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = [str(number) for number in range(torch.cuda.device_count())]
    if visible and there:
        there = [name.strip() for name in visible.split(",")]
    wanted = there if text == "all" else [name.strip() for name in text.split(",")]
    if not there or not set(wanted) <= set(there):
        found = ", ".join(there) or "none (no CUDA device)"
        raise InputError(f"--gpus {text}: all or numbers such as 0,1; found here: {found}")
    return wanted
