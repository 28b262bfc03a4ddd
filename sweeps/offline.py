"""The offline engine: the points of a sweep, run here by warm workers, claimed from a study."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from common.errors import RunError
from experiment.stop import leave_terminal
from sweeps.progress import Board, label
from sweeps.space import Sweep
from sweeps.study import BEAT_SECONDS, Claim, Study
from sweeps.workers import Crew, Hand

END_SECONDS = 10


@dataclass
class Stop:
    """How often the user asked to stop, and when last: 1 finishes the runs in hand, 2 ends them."""

    asked: int = 0
    at: float = 0.0


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Count Ctrl-C; SIGTERM and SIGHUP (the terminal has gone) stop at once.

    A SIGHUP that is ignored (``nohup``) stays so. Restores the old handlers afterwards.
    """
    stop = Stop()

    def handle(number: int, frame: Any) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        stop.asked = stop.asked + 1 if number == signal.SIGINT else 2
        stop.at = time.monotonic()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    old = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class OfflineSweep:
    """One command's share of a sweep: as many points as it can get, then it ends."""

    def __init__(self, study: Study, crew: Crew, board: Board, tracking: dict[str, Any]) -> None:
        self.study, self.crew, self.board, self.tracking = study, crew, board, tracking
        self.sweep = study.sweep
        self.not_again: set[str] = set()
        self.waiting_said = False
        self.last_beat = time.monotonic()

    def run(self, retry_failed: bool = False) -> int:
        """Exit code: 0 every point done or running elsewhere, 1 some are not, 130 stopped.

        Raises ``RunError`` when workers cannot start or the study cannot be written.
        """
        try:
            self.study.top_up(retry_failed)
            with self.board, stop_signals() as stop:
                self.board.begin(self.study.standings())
                try:
                    self._work(stop)
                finally:
                    self._let_all_go()
            code = self.board.close(self.study.standings())
            if stop.asked:
                self.board.say("Stopped; give the same command again to go on.")
            return 130 if stop.asked else code
        except OSError as error:
            raise RunError(f"the study cannot be kept: {error}") from None

    def _work(self, stop: Stop) -> None:
        told = 0
        while stop.asked < 2:
            if stop.asked > told:
                told = stop.asked
                self.board.say("Stopping after the runs in hand; Ctrl-C again stops now.")
            if not stop.asked:
                self._hand_out()
            if not self._busy() and (stop.asked or not self._more_to_come()):
                return
            for hand, news in self.crew.news(1.0):
                self._hear(hand, news)
            self._beat()
            self.board.show([self._row(hand) for hand in self.crew.hands])

    def _name(self, hand: Hand) -> str:
        return label(hand.claim.point, self.board.varied)

    def _row(self, hand: Hand) -> tuple[str, str, dict[str, Any], float | None]:
        if hand.claim is None:
            return hand.name, hand.state, {}, None
        return hand.name, self._name(hand), hand.event, hand.seconds

    def _busy(self) -> int:
        return sum(hand.claim is not None for hand in self.crew.hands)

    def _hand_out(self) -> None:
        """Have as many workers as there is work for, and give each free one a point."""
        self.crew.start_missing(self._busy() + self.study.waiting())
        for hand in self.crew.hands:
            if hand.state == "ready" and hand.claim is None:
                claim = self.study.claim()
                if claim is None:
                    return
                hand.order(claim, self._order(claim))

    def _more_to_come(self) -> bool:
        """Whether points wait, or claims of others may turn out to be lost and need a new owner."""
        self.study.top_up(leave=frozenset(self.not_again))
        if self.study.waiting():
            return True
        doubtful = self.study.doubtful()
        if doubtful and not self.waiting_said:
            self.waiting_said = True
            self.board.say(f"Waiting up to 5 minutes for {doubtful} silent points of others")
        return doubtful > 0

    def _order(self, claim: Claim) -> dict[str, Any]:
        sweep, point = self.sweep, claim.point
        short = label(point, self.board.varied).replace(" ", "-").replace("=", "")
        names = {"group": sweep.name, "name": f"{sweep.name}-{short}"[:64]}
        about = {"name": sweep.name, "file": str(sweep.file), "point": claim.settings_key}
        return {
            "task": sweep.task,
            # A point whose worker was killed goes on in its old run folder.
            "args": point.args | names | {"resume": "auto"} | self.tracking,
            "extra": {"sweep": about},
            "metric": sweep.metric,
        }

    def _hear(self, hand: Hand, news: dict[str, Any] | None) -> None:
        if news is None:
            self._mourn(hand)
        elif news["kind"] == "ready":
            hand.state = "ready"
        elif news["kind"] == "progress":
            self._follow(hand, news["event"])
        elif news["kind"] == "done":
            self._record(hand, news)
        else:
            hand.state = "leaving"
            self._fail(hand, news["reason"])

    def _follow(self, hand: Hand, event: dict[str, Any]) -> None:
        hand.event |= event
        value = event.get(self.sweep.metric)
        if value is not None and isfinite(value):
            epoch = max(1, int(event["epoch"]))  # a last validation within the first epoch: 1
            if self.study.report(hand.claim, value, epoch):
                hand.stop_early()

    def _record(self, hand: Hand, news: dict[str, Any]) -> None:
        value = news["last"].get(self.sweep.metric)
        attrs = {"folder": news["folder"], "run_id": news["run_id"]}
        early = news["state"] == "stopped"
        if news["state"] != "finished" and not early:
            self._fail(hand, f"{news['state']}, to go on from its checkpoint", lost=True)
            return
        if value is None or not isfinite(value):
            self._fail(hand, f"the run ended without a finite {self.sweep.metric}")
            return
        if self.study.done(hand.claim, value, attrs, early):
            self.board.recount(self.study.standings())  # others may be at work on it too
            note = ", stopped early" if early else ""
            self.board.finished(self._name(hand), value, hand.seconds, note)
        else:
            self.board.say(f"{news['folder']}: another machine had taken this point over")
        hand.claim = None

    def _fail(self, hand: Hand, reason: str, lost: bool = False) -> None:
        self.study.failed(hand.claim, reason, {"log": str(hand.log.resolve())}, lost)
        self.not_again.add(hand.claim.point.key)  # in this command: it may kill each time
        self.board.failed(self._name(hand), reason, lost)
        hand.claim = None

    def _mourn(self, hand: Hand) -> None:
        """A worker has ended: by itself after a failed run, or killed."""
        reason, by_signal = hand.death()
        if hand.claim:
            self._fail(hand, reason, lost=by_signal)
        elif hand.state == "starting":
            raise RunError(f"a worker could not start: {reason}")

    def _beat(self) -> None:
        if time.monotonic() - self.last_beat > BEAT_SECONDS:
            self.last_beat = time.monotonic()
            for hand in self.crew.hands:
                if hand.claim:
                    self.study.beat(hand.claim)

    def _let_all_go(self) -> None:
        """End the workers; runs in hand first get ``END_SECONDS`` to save their checkpoints."""
        for hand in self.crew.hands:
            if hand.claim:
                hand.process.terminate()
        deadline = time.monotonic() + END_SECONDS
        while self._busy() and time.monotonic() < deadline:
            for hand, news in self.crew.news(0.5):
                self._hear(hand, news)
        claims = [hand.claim for hand in self.crew.hands if hand.claim]
        self.crew.end()
        for claim in claims:
            self.study.failed(claim, "the sweep was stopped", {}, lost=True)


def log_folder(where: str, sweep: Sweep) -> Path:
    """Where workers write their logs: beside a journal, else under studies/."""
    if "://" in where:
        return Path("studies") / f"{sweep.file_name}-logs"
    return Path(where).parent / f"{Path(where).stem}-logs"
