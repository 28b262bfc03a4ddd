"""A worker (``python -m sweeps.worker``): one warm process that trains points of a study.

Its job is one JSON line on stdin (``Job``). It takes no further point once stdin is closed. How
its runs end is recorded in the study; what they print goes to the worker's log.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from common.errors import InputError, RunError
from common.files import write_atomically
from experiment.stop import StopRequest
from sweeps.claims import Claim, Claims
from sweeps.owner import HEARTBEAT_SECONDS
from sweeps.progress import label, run_name
from sweeps.storage import named_errors
from sweeps.study import Study
from sweeps.sweep_file import parse_sweep

STUDY_UNUSABLE = 75  # exit code: the current run is interrupted, not failed
ORPHAN_SECONDS = 5  # for the current run to be saved after the command was killed
STATUS_SECONDS = 1  # between two writes of the progress file


@dataclass(frozen=True)
class Job:
    """What a command asks of its workers; ``definition`` is the sweep's, as JSON has it."""

    study: str
    file: str
    definition: dict[str, Any]
    command: str
    runs_dir: str
    seeds: int | None = None
    skip_invalid: bool = False
    tracking: dict[str, Any] = field(default_factory=dict)
    count: int | None = None


class Worker:
    """Claims points and trains them, until none waits, a run breaks, or the job ends."""

    def __init__(self, job: Job, finish: threading.Event) -> None:
        self.job, self.finish = job, finish  # ``finish``: no further point
        sweep = parse_sweep(Path(job.file), job.definition, skip_invalid=job.skip_invalid)
        self.sweep = sweep.with_seeds(job.seeds) if job.seeds else sweep
        self.claims = Claims(Study(job.study, self.sweep, job.runs_dir, job.command))
        self.parent = os.getppid()
        self.trial_id: int | None = None  # of the current claim, for the heartbeat
        self.log = os.environ.get("SWEEP_WORKER_LOG", "")
        self.last_written = 0.0

    def work(self) -> None:
        """Train points one after another."""
        # The slow import comes before the first point, so that its time is like the others'.
        import experiment.run  # noqa: F401

        threading.Thread(target=self._send_heartbeats, daemon=True).start()
        count, go_on = 0, True
        while go_on and not self.finish.is_set() and count != self.job.count:
            claim = self.claims.next()
            if claim is None:
                return
            count += 1
            self.trial_id = claim.trial_id
            go_on = self._train(claim)
            self.trial_id = None

    def _send_heartbeats(self) -> None:
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            if self.trial_id is not None:
                with contextlib.suppress(Exception):  # whatever failed, the next one may work
                    self.claims.heartbeat(self.trial_id)

    def _train(self, claim: Claim) -> bool:
        """Train one point. False after a broken run: its leftovers must not affect the next."""
        from experiment.run import run

        try:
            settings = self.sweep.settings(self._arguments(claim))
        except InputError as error:
            self.claims.infeasible(claim, str(error))
            return True
        stop = StopRequest()
        known: dict[str, Any] = {"name": label(claim.point, self.sweep.varied)}

        def observe(row: Mapping[str, Any]) -> None:
            known.update(row)
            if row.get("epoch") and not settings.training.minutes:
                per_epoch = row["images_seen"] / row["epoch"]
                known["images_total"] = settings.training.total_images(round(per_epoch))
            if time.monotonic() - self.last_written > STATUS_SECONDS:
                self._write_progress(known)
            value = row.get(self.sweep.metric)
            if value is None or not isfinite(value) or stop.requested:
                return
            epoch = max(1, int(row["epoch"]))  # a last validation within the first epoch: 1
            try:
                if reason := self.claims.report(claim, value, epoch):
                    stop.request(reason)
            except (OSError, InputError, RunError) as error:  # the study fails, not the run
                stop.request(f"the study cannot be used: {error}", preempted=True)

        about = {"name": self.sweep.name, "file": self.job.file, "point": claim.settings_key}
        try:
            result = run(settings, observer=observe, stop=stop, extra_config={"sweep": about})
        except Exception as error:
            reason = str(error)
            if not isinstance(error, InputError | RunError):
                traceback.print_exc()
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self.claims.failed(claim, reason, {"log": self.log})
            return False
        finally:
            self._write_progress({})
        return self._record(claim, result)

    def _record(self, claim: Claim, result: Any) -> bool:
        attrs = {"folder": str(result.folder.resolve()), "run_id": result.run_id}
        attrs["seconds"] = result.summary.get("seconds")
        value = result.summary["last"].get(self.sweep.metric)
        if result.state == "preempted":
            reason = result.summary.get("reason") or "stopped"
            if os.getppid() != self.parent:  # whose death was signalled
                reason = "the sweep's command ended"
            reason += "; resumes from its checkpoint"
            self.claims.failed(claim, reason, attrs, lost=True)
            return False
        if value is None or not isfinite(value):
            reason = f"the run ended without a finite {self.sweep.metric}"
            self.claims.failed(claim, reason, attrs)
        elif not self.claims.done(claim, value, attrs, early=result.state == "stopped"):
            print(f"{result.folder}: another machine had taken this point over", file=sys.stderr)
        return True

    def _arguments(self, claim: Claim) -> dict[str, Any]:
        group = self.sweep.config.get("group") or os.environ.get("WANDB_RUN_GROUP")
        names = {"group": group or self.sweep.name}
        if not os.environ.get("WANDB_NAME"):
            names["name"] = run_name(self.sweep, claim.point, claim.settings_key)
        # A point whose worker was killed goes on in its old run folder.
        fixed = {"resume": "auto", "runs_dir": self.job.runs_dir} | self.job.tracking
        return names | claim.point.args | fixed

    def _write_progress(self, known: Mapping[str, Any]) -> None:
        """Write what the supervisor shows of the current run."""
        self.last_written = time.monotonic()
        if self.log:
            file, text = Path(self.log).with_suffix(".json"), json.dumps(known).encode()
            with contextlib.suppress(OSError):  # progress alone may be lost
                write_atomically(file, lambda part: part.write(text), durable=False)


def _watch_command(finish: threading.Event) -> None:
    """Set ``finish`` once stdin is closed, and end the process soon after a killed command.

    ``parent_death`` has then asked the current run to save itself.
    """
    parent = os.getppid()
    os.read(sys.stdin.fileno(), 1)  # returns at the end of the input
    finish.set()
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


def main() -> int:
    """Work on the job on stdin. A study that cannot be used is named in one line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor closes stdin instead
    job = Job(**json.loads(sys.stdin.readline()))
    finish = threading.Event()
    threading.Thread(target=_watch_command, args=(finish,), daemon=True).start()
    try:
        with named_errors(job.study):
            Worker(job, finish).work()
    except (InputError, RunError) as error:
        print(error, file=sys.stderr)
        return STUDY_UNUSABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
