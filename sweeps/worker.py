"""A worker: one warm process that does run after run of a sweep (``python -m sweeps.worker``).

Orders come as JSON lines on stdin, news leave as JSON lines on what was stdout; everything that a
run prints goes to stderr, the worker's log. When stdin closes, the sweep's own process has ended,
and the worker ends at once, so that no run goes on behind its back.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from queue import Queue
from typing import Any

from common.errors import InputError, RunError

NEWS_SECONDS = 0.5  # the least time between two lines of progress


class Worker:
    """The worker's end of the two pipes."""

    def __init__(self) -> None:
        self._news = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._orders: Queue[dict[str, Any]] = Queue()
        self._stop_early = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def serve(self) -> None:
        """Do runs until one fails: what a failure leaves behind must not meet the next run."""
        # The slow imports come before the first point, so that its time is like the others'.
        import torchmetrics.functional.image  # noqa: F401

        import experiment.run  # noqa: F401

        self._tell("ready")
        while self._run(self._orders.get()):
            pass

    def _listen(self) -> None:
        for line in sys.stdin:
            order = json.loads(line)
            if order.get("stop"):
                self._stop_early.set()
            else:
                self._orders.put(order)
        os._exit(1)

    def _tell(self, kind: str, **content: Any) -> None:
        self._news.write(json.dumps({"kind": kind, **content}) + "\n")

    def _run(self, order: dict[str, Any]) -> bool:
        from experiment.run import run
        from experiment.settings import Settings
        from experiment.stop import StopRequest

        self._stop_early.clear()
        told, stop = 0.0, StopRequest()

        def progress(event: dict[str, Any]) -> None:
            nonlocal told
            if order["metric"] in event or time.monotonic() - told > NEWS_SECONDS:
                told = time.monotonic()
                self._tell("progress", event=event)
            if self._stop_early.is_set():
                stop.request("pruned")

        try:
            settings = Settings.parse(order["task"], order["args"])
            result = run(settings, observer=progress, stop=stop, extra_config=order["extra"])
        except (InputError, RunError) as error:
            self._tell("failed", reason=str(error))
            return False
        except Exception as error:  # a run that breaks must not take the sweep along
            traceback.print_exc()
            self._tell("failed", reason=f"{type(error).__name__}: {error}".splitlines()[0])
            return False
        self._tell(
            "done", state=result.state, run_id=result.run_id, last=result.summary["last"],
            folder=str(result.folder.resolve()),
        )  # fmt: skip
        return True


if __name__ == "__main__":
    Worker().serve()
