"""What a run writes while it trains: CSV, W&B, display, checkpoints, examples, summary."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from common.errors import RunError
from common.media import Examples, Table
from experiment import checkpoints
from experiment.describe import ROOT, results_table
from experiment.settings import Settings, command_of
from tasks.metrics import goal_of
from tracking.folder import RunFolder, utc_now
from tracking.metrics_file import MetricsFile
from tracking.tracker import Tracker
from training.base import BaseTrainer, Row

SHOW_SECONDS = 0.5  # between two progress reports

Observer = Callable[[Mapping[str, Any]], object]


class Recorder:
    """Records on rank 0 the rows of the training loop: run folder, W&B, display.

    ``params`` is the net's table of layers. ``observer`` is called with every row, and with
    ``images_seen`` a few times a second. ``saved`` is the last checkpoint's contents of a resumed
    run, empty if there was none, and None for a new run.
    """

    def __init__(
        self,
        settings: Settings,
        config: dict[str, Any],
        folder: RunFolder,
        params: Table,
        tracker: Tracker,
        observer: Observer,
        saved: Mapping[str, Any] | None,
    ) -> None:
        self.settings, self.config, self.folder, self.params = settings, config, folder, params
        self.tracker, self.observer = tracker, observer
        self.resumed = saved is not None
        saved = saved or {}
        self.best: dict[str, float] = dict(saved.get("best", {}))
        self.last: dict[str, float] = dict(saved.get("last", {}))
        self.start_time = time.monotonic() - saved.get("seconds", 0.0)
        self.times: dict[str, float] = {"saving": 0.0, "wandb": 0.0, "lost": 0.0}
        self.times |= saved.get("times", {})
        self.metrics_checksum: int | None = saved.get("metrics")
        self.last_observed = 0.0
        self.files = contextlib.ExitStack()  # open ones, closed at the end

    def start(self, trainer: BaseTrainer) -> None:
        """Open the metrics file and the W&B run; send rows that a killed process had not sent."""
        before = time.monotonic()
        self.saves = checkpoints.SaveSchedule(
            self.settings.run.checkpoint_every, trainer.images_seen
        )
        self.folder.write_table(self.params)
        columns = trainer.task.metrics
        file = self.folder.path / "metrics.csv"
        self.metrics = MetricsFile(file, columns, trainer.step, self.metrics_checksum)
        self.files.callback(self.metrics.close)
        config, data = self.config, trainer.task.data
        tags = [self.settings.command, data.name]
        self.tracker.start(
            run_id=config["run_id"],
            name=config["run_name"],
            config=config,
            tags=tags + (["synthetic-fallback"] if data.fallback_reason else []),
            resumed=self.resumed,
        )
        self.write_summary(trainer, "running")
        self.tracker.define(columns)
        self.tracker.log_examples(Examples([self.params]), step=0)
        for row in self.metrics.read():
            self.tracker.log(row)
        self.tracker.log_code(ROOT)
        self.tracker.log_dataset(config["dataset"])
        self.start_time += time.monotonic() - before  # exclude W&B's start from the run's duration

    @contextlib.contextmanager
    def _timed(self, what: str, trainer: BaseTrainer, phase: str) -> Iterator[None]:
        """``with``: add to ``times[what]``; ``phase`` is what the display and the watchdog see."""
        before, outer, trainer.phase = time.monotonic(), trainer.phase, phase
        try:
            yield
        finally:
            spent = time.monotonic() - before
            self.times[what] += spent
            trainer.timer.exclude(spent)
            trainer.phase = outer

    def row(self, row: Row, trainer: BaseTrainer) -> None:
        self.metrics.write(row)
        with self._timed("wandb", trainer, "upload"):
            self.tracker.log(row)
        self.last |= {k: v for k, v in row.items() if "/" in k}
        if trainer.task.objective in row:
            if trainer.step < trainer.steps:
                self.log_examples(trainer)
            # Last, so that a resumed run never repeats the work before it.
            with self._timed("saving", trainer, "save"):
                self._update_best(row, trainer)
            self.save(trainer)
        self.observer(row)
        self.last_observed = time.monotonic()

    def after_step(self, trainer: BaseTrainer) -> None:
        if time.monotonic() - self.last_observed > SHOW_SECONDS:
            self.folder.note_alive()
            self.observer({"images_seen": trainer.images_seen})
            self.last_observed = time.monotonic()
        if self.saves.is_due(trainer.images_seen):
            self.save(trainer)

    def _update_best(self, row: Row, trainer: BaseTrainer) -> None:
        objective = trainer.task.objective
        value = row[objective]
        if not math.isfinite(value):
            raise RunError(f"{objective} became {value}; lower --lr")
        sign = 1 if goal_of(objective) == "minimize" else -1
        if not self.best or sign * value < sign * self.best[objective]:
            self.best = {k: v for k, v in row.items() if k.startswith("val/")}
            self.best["images_seen"] = row["images_seen"]
            contents = self._weights(trainer) | {"best": self.best}
            checkpoints.save(self.folder.checkpoints / "best.pt", contents)

    def save(self, trainer: BaseTrainer) -> None:
        """Save ``last.pt``; the one before it becomes ``previous.pt``."""
        training = trainer.state()  # waits for pending steps, so that they do not count as saving
        with self._timed("saving", trainer, "save"):
            state = {
                "training": training,
                "best": self.best,
                "last": self.last,
                "seconds": self.seconds,
                "times": self.times,
                "metrics": self.metrics.checksum,
            }
            self.to_disk()  # rows and pictures first: no checkpoint is newer than they are
            last, previous = (self.folder.checkpoints / f"{n}.pt" for n in ("last", "previous"))
            checkpoints.save(last, self._weights(trainer) | state, previous)
            self.saves.saved(trainer.images_seen)

    def to_disk(self) -> None:
        self.metrics.to_disk()
        self.folder.to_disk()

    def _weights(self, trainer: BaseTrainer) -> dict[str, Any]:
        """Config and weights: enough to rebuild the network."""
        return {"config": self.config, "model": trainer.net.state_dict()}

    @property
    def seconds(self) -> float:
        """Duration of the run so far, over all its processes."""
        return time.monotonic() - self.start_time

    def conclude(self, trainer: BaseTrainer) -> None:
        """Final metrics (of the best weights if ``task.ends_with_best``), examples, artifacts."""
        task, device = trainer.task, trainer.hardware.device
        if task.ends_with_best:
            best = checkpoints.load(self.folder.checkpoints / "best.pt")
            trainer.net.load_state_dict(best["model"])
        with trainer.evaluating("final"):
            metrics = task.final(trainer.forward, device, self.metrics.read())
        if metrics:
            row = {k: getattr(trainer, k) for k in ("step", "images_seen", "epoch")} | metrics
            self.metrics.write(row)
            self.tracker.log(row, final=True)
            self.last |= metrics
        self.log_examples(trainer)
        with self._timed("wandb", trainer, "upload"):
            self._log_models(trainer)

    def log_examples(self, trainer: BaseTrainer) -> None:
        """The demo images as the net restores or classifies them now; at the end also as files."""
        final = trainer.step == trainer.steps
        with trainer.evaluating("final" if final else "validate"):
            examples = trainer.task.examples(trainer.forward, trainer.hardware.device, final=final)
        name = "final" if final else f"images-{trainer.images_seen:09d}"
        if examples.overview:
            self.folder.write_picture(examples.overview, name=name)
        if final:
            results = results_table(self.config, self.write_summary(trainer, "running"))
            examples = replace(examples, tables=[*examples.tables, results])
            for table in examples.tables:
                self.folder.write_table(table)
        with self._timed("wandb", trainer, "upload"):
            self.tracker.log_examples(examples, trainer.step, final=final)

    def _log_models(self, trainer: BaseTrainer) -> None:
        name, files = f"model-{self.config['run_id']}", self.folder.checkpoints
        best_is_last = self.best["images_seen"] == trainer.images_seen
        if not best_is_last:
            self.tracker.log_model(name, files / "best.pt", ["best"])
        aliases = ["latest", "best"] if best_is_last else ["latest"]
        self.tracker.log_model(name, files / "last.pt", aliases)

    def write_summary(
        self, trainer: BaseTrainer, state: str, reason: str | None = None
    ) -> dict[str, Any]:
        """Write ``summary.json``: the work done, the time that it took, how the run ended.

        ``time`` has the seconds by what they went to; ``lost`` counts the work that a restart
        repeats, and the restart itself. Goodput is the share of all time that ended up in the
        result.
        """
        config, seconds, training = self.config, self.seconds, trainer.timer.seconds
        spent = {"steps": training, "validation": trainer.validation_timer.seconds, **self.times}
        total = seconds + self.times["lost"]
        summary = {
            "run_id": config["run_id"],
            "name": config["run_name"],
            "command": command_of(config),
            "task": config["task"],
            **{k: v for k, v in config["network"].items() if isinstance(v, int)},
            "seconds": round(seconds, 3),
            "training_seconds": round(training, 3),
            "images_seen": trainer.images_seen,
            "images_total": trainer.total_images,
            "images_per_second": round(trainer.images_seen / training, 1) if training else 0.0,
            "time": {name: round(value, 3) for name, value in spent.items()},
            "goodput": round(seconds / total if total else 1.0, 4),
            "state": state,
            "reason": reason,
            "last": self.last,
            "best": self.best,
            "wandb": self.tracker.address(),
            "started_at": config.get("started_at"),  # None of a run of commit 73bab81
            "ended_at": None if state == "running" else utc_now(),
        }
        # A failed run has reported the full disk already.
        with contextlib.suppress(*([OSError] if state == "failed" else [])):
            self.folder.write_summary(summary)
        return summary

    def close(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Close the files and, with the last ``summary``, the W&B run; release the folder."""
        self.files.close()
        sent = ("state", "reason", "ended_at", "seconds", "images_total", "images_per_second")
        self.tracker.finish(exit_code, {key: summary.get(key) for key in sent})
        self.folder.unlock()
