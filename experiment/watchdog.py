"""Notices a run that hangs: writes where it hangs, and ends it with ``--hang-action stop``."""

import contextlib
import faulthandler
import os
import statistics
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from pathlib import Path

from common.log import log
from training.base import BaseTrainer

EXIT_CODE = 75  # EX_TEMPFAIL: the same command goes on
FACTOR = 10  # times the median so far, at least ...
LEAST_SECONDS = 60
FIRST_SECONDS = 1800  # before anything of its kind has ended: compilers take long
REPORT_SECONDS = 3  # in which the other ranks write where they are
ROOT = Path(__file__).resolve().parent.parent


class Watchdog:
    """A thread that reads the trainer's phase and step: a step costs nothing.

    ``after`` is the bound in seconds; None stands for several times the median observed so far, 0
    for no watch. Rank 0 decides; the other ranks write their stacks when it has found a hang.
    ``on_stop`` is called with the reason before rank 0 ends; None where a report is enough.
    """

    def __init__(
        self,
        trainer: BaseTrainer,
        folder: Path,
        after: int | None = None,
        on_stop: Callable[[str], object] | None = None,
    ) -> None:
        self.trainer, self.after, self.on_stop = trainer, after, on_stop
        self.rank, self.size = trainer.ranks.rank, trainer.ranks.size
        self.files = [folder / f"hang-rank{rank}.txt" for rank in range(self.size)]
        self.poll = min(1.0, after / 4) if after else 1.0
        self.durations: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=101))
        self.ended = threading.Event()
        self.main = threading.get_ident()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """``with``: watch the training of this thread."""
        if self.after == 0:
            yield
            return
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.ended.set()
            thread.join(REPORT_SECONDS)

    def _watch(self) -> None:
        state = self.trainer.phase, self.trainer.step
        spent, before = 0.0, time.monotonic()
        while not self.ended.wait(self.poll):
            now = time.monotonic()
            # No more than two polls: a process that was suspended has not hung.
            spent, before = spent + min(now - before, 2 * self.poll), now
            (phase, step), current = state, (self.trainer.phase, self.trainer.step)
            if current != state:
                steps = max(current[1] - step, 1) if phase == "train" else 1
                self.durations[phase].append(spent / steps)
                state, spent = current, 0.0
            elif self.files[0].exists() if self.rank else spent > self.bound(phase):
                self._report(f"{phase} after step {step} has taken {spent:.0f} s")
                return

    def bound(self, phase: str) -> float:
        """Seconds that a step, validation, save or upload may take."""
        if self.after:
            return self.after
        seen = self.durations[phase]
        return max(LEAST_SECONDS, FACTOR * statistics.median(seen)) if seen else FIRST_SECONDS

    def _report(self, what: str) -> None:
        place = self._place()
        with (
            contextlib.suppress(OSError),
            open(self.files[self.rank], "w", encoding="utf-8") as file,
        ):
            file.write(f"rank {self.rank} at {place}: {what}\n\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)
        if self.rank:
            if self.on_stop:  # torchrun would wait half a minute for a process that hangs
                time.sleep(2 * REPORT_SECONDS)
                os._exit(EXIT_CODE)
            return
        where = f"{what}, in {place}"
        if self.size > 1:
            time.sleep(REPORT_SECONDS)
            where += f"; {self._ranks()}"
        log.warning(f"the run hangs: {where}; the stacks are in {self.files[0]}")
        if self.on_stop:
            ending = threading.Thread(target=self.on_stop, args=(where,), daemon=True)
            ending.start()
            ending.join(10)  # W&B or the disk may be what hangs
            sys.stdout.flush()
            os._exit(EXIT_CODE)

    def _ranks(self) -> str:
        """Which ranks are late: those that have not reached the exchange of gradients."""
        late, silent = [], []
        for rank, file in enumerate(self.files):
            try:
                head = file.read_text(encoding="utf-8").partition(":")[0]
            except OSError:
                silent.append(f"rank {rank}")
                continue
            if "backward" not in head and "all_reduce" not in head:
                late.append(head)
        found = [f"slow: {', '.join(late)}"] if late else []
        return "; ".join(found + ([f"no answer from {', '.join(silent)}"] if silent else []))

    def _place(self) -> str:
        """The innermost call of the main thread, and the innermost line of this project."""
        frame = sys._current_frames().get(self.main)
        inner = frame.f_code.co_name if frame else "?"
        while frame and not Path(frame.f_code.co_filename).is_relative_to(ROOT):
            frame = frame.f_back
        if frame is None:
            return inner
        file = Path(frame.f_code.co_filename).relative_to(ROOT)
        return f"{file} line {frame.f_lineno} ({inner})"
