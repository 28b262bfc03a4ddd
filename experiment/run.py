"""One run from settings to summary: data, network, tracking, the loop, checkpoints, the end."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from common.errors import RunError
from common.media import Showing
from experiment import checkpoints as checkpoint
from experiment import resume
from experiment.describe import ROOT, differences, explain, results_table, run_config, run_summary
from experiment.display import Display
from experiment.settings import RunSettings
from experiment.stop import StopSignals
from tasks.registry import make_task
from tracking import server as wandb_server
from tracking.folder import RunFolder, new_run_id
from tracking.metrics_file import MetricsFile
from tracking.tracker import Tracker
from training.distributed import Team
from training.hardware import Hardware, choose_hardware
from training.trainer import NonFiniteLoss, Training

SHOW_SECONDS = 0.5  # between two updates of the display

Progress = Callable[[dict[str, Any]], None]


class StopRun(Exception):
    """Raised by a ``progress`` callback: end the run here, keeping what it has (pruning)."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended; ``summary`` is the content of ``summary.json``."""

    run_id: str
    folder: Path
    state: str
    summary: dict[str, Any]
    exit_code: int = 0


def run(
    settings: RunSettings,
    *,
    progress: Progress | None = None,
    extra_config: dict[str, Any] | None = None,
) -> RunResult:
    """Train as ``settings`` say and leave a run folder and a W&B run.

    ``progress`` replaces the display: it is called with the known metrics a few times a second
    and may raise ``StopRun``. ``extra_config`` is added to ``run.config``. Raises ``InputError``
    before anything is made, ``RunError`` for a run that started and failed.
    """
    wandb_server.check_tags(settings.tags)
    wandb_server.check_project(settings.project)
    team = Team.from_environment()
    hardware = choose_hardware(team.own_device(settings))
    with team.connected(hardware.device):
        if team.rank:
            return _compute(settings, hardware, team)
        connection = wandb_server.choose_connection(
            settings.mode, settings.project, settings.entity
        )
        earlier = resume.find(settings)
        try:
            training = _training(settings, hardware, team, earlier)
            display = Display() if progress is None else None
            if display and settings.resume == "auto" and not earlier:
                display.say("--resume auto: no unfinished run of these settings here, a new one")
            active = ActiveRun(training, display, progress, extra_config or {}, earlier, connection)
        except Exception as error:
            if earlier:
                earlier.folder.unlock()
            failure = explain(error, None)
            raise failure from (None if failure is error else error)
        return active.go()


def _training(
    settings: RunSettings, hardware: Hardware, team: Team, earlier: resume.Earlier | None = None
) -> Training:
    """Data, network and optimizer at their beginning, alike in every process."""
    task = make_task(settings)
    if earlier:
        earlier.check_data(task.data.checksum)
    torch.manual_seed(settings.seed)
    return Training(task, task.build_model(), hardware, team)


def _compute(settings: RunSettings, hardware: Hardware, team: Team) -> RunResult:
    """What a process does that is not the first of its team: its part of every step."""
    training = _training(settings, hardware, team)
    state = team.shared(None)
    if state:
        training.load_state(state)
    # A signal reaches all processes; the first one decides after which step they stop.
    with StopSignals(lambda text: None) as signals:
        try:
            for _ in training.fit(lambda: False):
                pass
        except NonFiniteLoss:  # the first process says where the last checkpoint is
            raise
        except RuntimeError as error:
            failure = explain(error, None)
            raise failure from (None if failure is error else error)
        stopped = training.step < training.steps
        code = signals.exit_code if stopped and signals.number else 0
    return RunResult("", Path(), "preempted" if stopped else "finished", {}, code)


class ActiveRun:
    """A run in the making: it takes the loop's rows to the folder, to W&B and to the display."""

    def __init__(
        self,
        training: Training,
        display: Display | None,
        progress: Progress | None,
        extra_config: dict[str, Any],
        earlier: resume.Earlier | None,
        connection: wandb_server.Connection,
    ) -> None:
        self.training, self.task = training, training.task
        self.settings = self.task.settings
        self.display = display
        self.progress = progress or (display.update if display else lambda row: None)
        self.started = self.shown = time.monotonic()
        self.signals = StopSignals(self.say)
        self.best: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.metrics: MetricsFile | None = None  # from the start of the run on
        network, self.params = self.task.network_facts(training.model)
        self.config = run_config(self.task, training.hardware, network) | extra_config
        self.earlier = earlier
        state = None
        if earlier:
            state = self._go_on(earlier)
        else:
            self.run_id = new_run_id()
            default = f"{self.settings.default_name()}-{self.task.data.name}"
            self.name = self.settings.name or connection.name or default
            self.config |= {"run_id": self.run_id, "run_name": self.name}
            where = self.settings.runs_dir, self.name, self.run_id
            self.folder = RunFolder.create(*where, self.config)
        state = training.team.shared(state)
        if state:
            training.load_state(state)
        self.saving = SaveSchedule(self.settings.checkpoint_every, training.images_seen)
        self.tracker = Tracker(
            self.settings, connection, self.folder.path, self.settings.task, self.say
        )

    def _go_on(self, earlier: resume.Earlier) -> dict[str, Any] | None:
        """Be the earlier run: its name, its config; returns its state at the last checkpoint."""
        self.folder = earlier.folder
        self.folder.clear()
        for line in differences(earlier.config["environment"], self.config["environment"]):
            self.say(f"not as before, so the numbers may differ: {line}")
        self.config = earlier.config
        self.run_id, self.name = self.config["run_id"], self.config["run_name"]
        files = [self.folder.checkpoints / name for name in ("last.pt", "previous.pt")]
        path, saved, problems = checkpoint.load_first(files, self.run_id)
        for problem in problems:
            self.say(problem)
        if not path:
            self.say(f"going on with {self.folder.path} from the start")
            return None
        self.best, self.last = saved["best"], saved["last"]
        self.started -= saved["seconds"]
        images = saved["training"]["step"] * self.settings.batch_size
        self.say(f"going on with {self.folder.path} after {images:,} images")
        return saved["training"]

    def say(self, text: str) -> None:
        """A plain line where somebody looks on, or into the log of a sweep's worker."""
        if self.display:
            self.display.say(text)
        else:
            print(text, file=sys.stderr)

    def go(self) -> RunResult:
        """Train, and leave everything closed and said whatever happens."""
        with self.signals:
            try:
                self._start()
                for row in self.training.fit(self._after_step):
                    self._take(row)
                if self.training.step < self.training.steps:
                    return self._preempted()
                self._conclude()
                self._log_models()
            except StopRun as stop:
                return self._end("stopped", reason=str(stop) or None)
            except BaseException as error:
                last_good = self.folder.checkpoints / "last.pt"
                failure = explain(error, last_good if last_good.exists() else None)
                self._end("failed", exit_code=1, reason=str(failure) or type(failure).__name__)
                raise failure from (None if failure is error else error)
            return self._end("finished")

    def _preempted(self) -> RunResult:
        """Leave a run that a signal stopped so that it can go on."""
        self._save()
        self.tracker.preempting()
        if self.display:
            self.display.stop()
            self.display.say(f"to go on: the same command with --resume {self.folder.path}")
        code = self.signals.exit_code
        return self._end("preempted", exit_code=code, reason=f"stopped by {self.signals.name}")

    def _start(self) -> None:
        self.folder.write_table(self.params)
        path = self.folder.path / "metrics.csv"
        self.metrics = MetricsFile(path, self.task.metrics, self.training.step)
        data = self.task.data
        tags = [self.settings.task, data.name] + (["synthetic-fallback"] if data.fallback_reason else [])
        self.tracker.start(
            run_id=self.run_id, name=self.name, config=self.config, tags=tags,
            resumed=self.earlier is not None,
        )  # fmt: skip
        self._summary("running")
        self.tracker.define(self.task.metrics)
        self.tracker.show(Showing([self.params]), step=0)
        for row in self.metrics.read():
            self._track(row)  # what a killed process had not sent
        self.tracker.log_code(ROOT)
        self.tracker.log_dataset(self.config["dataset"])
        if self.display:
            self.display.start(self.training, self.config, self.tracker, self.folder.path)
        now = time.monotonic()
        self.started += now - self.shown  # W&B's imports and start are no time of the run
        self.shown = now

    def _track(self, row: dict[str, float]) -> None:
        self.tracker.log({k: v for k, v in row.items() if k != "step"}, int(row["step"]))

    def _take(self, row: dict[str, float]) -> None:
        self.metrics.write(row)
        self._track(row)
        self.last |= {k: v for k, v in row.items() if "/" in k}
        if self.settings.objective in row:
            if self.training.step < self.training.steps:
                self._show(self.training.step)
            self._keep(row)  # last: what a checkpoint follows is not done again
        self.progress(row)

    def _conclude(self) -> None:
        """What is measured and shown once, with the best weights where the task says so."""
        training = self.training
        if self.task.ends_with_best:
            best = checkpoint.load(self.folder.checkpoints / "best.pt")
            training.model.load_state_dict(best["model"])
        with training.evaluating():
            metrics = self.task.final(training.forward, training.hardware, self.metrics.read())
        if metrics:
            epoch = round(training.images_seen / len(training.stream), 4)
            row = {"images_seen": training.images_seen, "epoch": epoch} | metrics
            self.metrics.write({"step": training.step} | row)
            self.tracker.log(row, training.step)
            self.last |= metrics
        self._show(training.step)

    def _after_step(self) -> bool:
        now = time.monotonic()
        if now - self.shown > SHOW_SECONDS:
            self.progress({"images_seen": self.training.images_seen})
            self.shown = now
        if self.signals.number is not None:
            return True
        if self.saving.is_due(self.training.images_seen):
            self._save()
        return False

    def _keep(self, row: dict[str, float]) -> None:
        """Save ``best.pt`` if this validation is the best so far, and ``last.pt``."""
        objective = self.settings.objective
        if not math.isfinite(row[objective]):
            raise RunError(f"{objective} became {row[objective]}; lower --lr")
        sign = 1 if self.settings.goal == "minimize" else -1
        if not self.best or sign * row[objective] < sign * self.best[objective]:
            self.best = {k: v for k, v in row.items() if k.startswith("val/")}
            self.best["images_seen"] = row["images_seen"]
            checkpoint.save(self.folder.checkpoints / "best.pt", self._weights())
        self._save()

    def _save(self) -> None:
        """Save ``last.pt``; the one before it becomes ``previous.pt``."""
        state = {
            "training": self.training.state(),
            "best": self.best,
            "last": self.last,
            "seconds": time.monotonic() - self.started,
        }
        self.metrics.to_disk()
        last, previous = (self.folder.checkpoints / f"{n}.pt" for n in ("last", "previous"))
        checkpoint.save(last, self._weights() | state, previous)
        self.saving.saved(self.training.images_seen)

    def _weights(self) -> dict[str, Any]:
        """What rebuilds the network for use, and says where it comes from."""
        return {"config": self.config, "model": self.training.model.state_dict()}

    def _show(self, step: int) -> None:
        """The demo set, as the network is now; at the end of training also as files."""
        training = self.training
        final = training.step == training.steps
        with training.evaluating():
            showing = self.task.show(training.forward, training.hardware, final=final)
        name = "final" if final else f"images-{training.images_seen:09d}"
        if showing.overview:
            self.folder.write_picture(showing.overview, name=name)
        if final:
            results = results_table(self.config, self._summary("running"))
            showing = replace(showing, tables=[*showing.tables, results])
            for table in showing.tables:
                self.folder.write_table(table)
        self.tracker.show(showing, step)

    def _log_models(self) -> None:
        name, files = f"model-{self.run_id}", self.folder.checkpoints
        best_is_last = self.best["images_seen"] == self.training.images_seen
        if not best_is_last:
            self.tracker.log_files(name, "model", [files / "best.pt"], ["best"])
        aliases = ["latest", "best"] if best_is_last else ["latest"]
        self.tracker.log_files(name, "model", [files / "last.pt"], aliases)

    def _summary(self, state: str, reason: str | None = None) -> dict[str, Any]:
        seconds = time.monotonic() - self.started
        summary = run_summary(self.training, self.config, seconds) | {
            "state": state,
            "reason": reason,
            "last": self.last,
            "best": self.best,
            "wandb": self.tracker.address(),
        }
        # A full disk has already been given as the reason of a failed run.
        with contextlib.suppress(*([OSError] if state == "failed" else [])):
            self.folder.write_summary(summary)
        return summary

    def _end(self, state: str, exit_code: int = 0, reason: str | None = None) -> RunResult:
        if self.display:
            self.display.stop()
        summary = self._summary(state, reason)
        if self.metrics:
            self.metrics.close()
        told = ("state", "reason", "seconds", "images_total", "images_per_second")
        self.tracker.finish(exit_code, {key: summary[key] for key in told})
        self.folder.unlock()
        if self.display and state in ("finished", "stopped"):
            self.display.summary(summary, self.config, self.folder.path)
        return RunResult(self.run_id, self.folder.path, state, summary, exit_code)


class SaveSchedule:
    """When to save between validations: every so many images, or minutes (``"10m"``)."""

    def __init__(self, every: int | str | None, images_seen: int) -> None:
        self.images = every if isinstance(every, int) else None
        self.seconds = 60 * int(every[:-1]) if isinstance(every, str) else None
        self.saved(images_seen)

    def saved(self, images_seen: int) -> None:
        """Count from here."""
        self.at_images, self.at_time = images_seen, time.monotonic()

    def is_due(self, images_seen: int) -> bool:
        """Whether as much has passed since the last save."""
        if self.images:
            return images_seen - self.at_images >= self.images
        return self.seconds is not None and time.monotonic() - self.at_time >= self.seconds
