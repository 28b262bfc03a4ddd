"""One run from settings to summary: data, net, tracking, the loop, the end."""

import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from common.log import log, log_through
from common.options import flag
from experiment import checkpoints, resume
from experiment.describe import differences, explained, run_config
from experiment.display import Display
from experiment.identity import default_name
from experiment.recorder import Observer, Recorder
from experiment.resume import ResumedRun
from experiment.settings import Settings
from experiment.stop import StopRequest, stop_on_signals
from experiment.watchdog import Watchdog
from models.registry import NETS
from tasks.registry import make_task
from tracking import server
from tracking.folder import RunFolder, new_run_id
from tracking.tracker import Tracker
from training.base import BaseTrainer
from training.distributed import DistributedContext
from training.fitter import Fitter
from training.hardware import choose_hardware
from training.loop import NullRecorder, train
from training.precision import choose_precision
from training.trainer import Trainer


@dataclass(frozen=True)
class RunResult:
    """How a run ended; ``summary`` is the content of ``summary.json``."""

    run_id: str
    folder: Path
    state: str
    summary: dict[str, Any]
    exit_code: int = 0


def run(
    settings: Settings,
    *,
    observer: Observer | None = None,
    stop: StopRequest | None = None,
    extra_config: dict[str, Any] | None = None,
) -> RunResult:
    """Train as ``settings`` say and leave a run folder and a W&B run.

    ``observer`` replaces the display; ``stop`` lets the caller stop the run between two steps;
    ``extra_config`` is added to ``run.config``. Raises ``InputError`` before anything is made,
    ``RunError`` for a run that started and failed.
    """
    began = time.monotonic()
    tracking = settings.tracking
    server.check_tags(tracking.tags)
    server.check_project(tracking.project)
    stop = stop or StopRequest()
    ranks = DistributedContext.from_environment()
    hardware = choose_hardware(ranks.assign_device(settings.hardware, settings.training.batch_size))
    with ranks.connected(hardware.device), stop_on_signals(stop):
        if ranks.rank:
            return _train_on_other_rank(settings, hardware, ranks, stop)
        connection = server.choose_connection(tracking.mode, tracking.project, tracking.entity)
        resumed = resume.find(settings)
        display = None
        if observer is None:
            display = Display()
            observer = display.update
        with log_through(display.print) if display else contextlib.nullcontext():
            if settings.run.resume == "auto" and not resumed:
                log.info("--resume auto: no unfinished run of this experiment; starting a new one")
            for option in settings.without_effect():
                other, value = option.only_if or ("", "")
                log.warning(f"{flag(option.name)} has no effect without {flag(other)} {value}")
            try:
                with explained(settings.command, resumed and resumed.folder.path):
                    trainer = make_trainer(settings, hardware, ranks, resumed)
                    recorder = _prepare(
                        settings, connection, trainer, resumed, observer, extra_config or {}
                    )
                    if resumed:
                        restart = time.monotonic() - began
                        recorder.times["lost"] += resumed.folder.seconds_lost() + restart
            except Exception:
                if resumed:
                    resumed.folder.unlock()
                raise
            return _train_and_close(trainer, recorder, stop, display)


def make_trainer(
    settings: Settings,
    hardware: Any,
    ranks: DistributedContext | None = None,
    resumed: ResumedRun | None = None,
) -> BaseTrainer:
    """Data, net and optimizer at their beginning, the same on every rank."""
    task = make_task(settings)
    if resumed:
        resumed.check_data(task.data.checksum)
    torch.manual_seed(settings.training.seed)
    net = task.build_net()
    fitted = NETS[settings.command].fitted
    if fitted:  # exact, like its distances and closed forms
        hardware = replace(hardware, dtype=torch.float32)
    else:
        stored = resumed and resumed.config["environment"]["precision"]
        hardware = choose_precision(settings.hardware, hardware, task, net, ranks, stored)
    kind, log_every = Fitter if fitted else Trainer, settings.tracking.log_every
    return kind(task, net, settings.training, hardware, ranks, log_every=log_every)


def _train_on_other_rank(
    settings: Settings, hardware: Any, ranks: DistributedContext, stop: StopRequest
) -> RunResult:
    """The same loop on a rank above 0, which records nothing."""
    trainer = make_trainer(settings, hardware, ranks)
    state, folder = ranks.broadcast(None)
    if state:
        trainer.load_state(state)
    on_stop = _ignore if settings.run.hang_action == "stop" else None
    with (
        explained(settings.command, folder),
        Watchdog(trainer, folder, settings.run.hang_after, on_stop).watching(),
    ):
        complete = train(trainer, NullRecorder(), stop)
    state = "finished" if complete else "preempted"
    return RunResult("", Path(), state, {}, 0 if complete else stop.exit_code)


def _prepare(
    settings: Settings,
    connection: server.Connection,
    trainer: BaseTrainer,
    resumed: ResumedRun | None,
    observer: Observer,
    extra_config: dict[str, Any],
) -> Recorder:
    """The run's folder, config and recorder; loads the last checkpoint of a resumed run."""
    network, params = trainer.task.describe_net(trainer.net)
    config = run_config(settings, trainer.task.data, trainer.hardware, network) | extra_config
    if resumed:
        saved = _load_last(resumed, config)
        config, folder = resumed.config, resumed.folder
    else:
        saved = None
        name = settings.tracking.name or connection.name
        name = name or f"{default_name(settings)}-{trainer.task.data.name}"
        config |= {"run_id": new_run_id(), "run_name": name}
        folder = RunFolder.create(settings.run.runs_dir, config)
    state = saved.get("training") if saved else None
    trainer.ranks.broadcast((state, folder.path.resolve()))
    if state:
        trainer.load_state(state)
    if resumed:
        where = f"at image {trainer.images_seen:,}" if trainer.step else "from the start"
        log.info(f"Resuming {folder.path} {where}")
    tracker = Tracker(settings.tracking, connection, folder.path, settings.command)
    return Recorder(settings, config, folder, params, tracker, observer, saved)


def _load_last(resumed: ResumedRun, config: dict[str, Any]) -> dict[str, Any]:
    """The contents of the resumed run's last whole checkpoint; empty if there is none."""
    folder = resumed.folder
    folder.clear()
    for line in differences(resumed.config["environment"], config["environment"]):
        log.info(f"Environment changed since this run started; results may differ: {line}")
    files = [folder.checkpoints / name for name in ("last.pt", "previous.pt")]
    saved = checkpoints.load_first(files, resumed.config["run_id"])
    resumed.check_config(saved.get("config"))
    if saved.get("best"):  # reported now, not after the whole training
        best = folder.checkpoints / "best.pt"
        checkpoints.check_best(best, resumed.config["run_id"], saved["best"])
    return saved


def _train_and_close(
    trainer: BaseTrainer, recorder: Recorder, stop: StopRequest, display: Display | None
) -> RunResult:
    """Train; always close the run and report how it ended."""
    folder = recorder.folder.path
    with contextlib.ExitStack() as shown:
        try:
            with explained(recorder.settings.command, folder):
                recorder.start(trainer)
                if display:
                    shown.callback(display.live.stop)
                    display.start(trainer, recorder.config, recorder.tracker, folder)
                state, exit_code, reason = _train(trainer, recorder, stop)
                recorder.to_disk()
                summary = recorder.write_summary(trainer, state, reason)
        except BaseException as failure:
            shown.close()
            why = str(failure) or type(failure).__name__
            recorder.close(recorder.write_summary(trainer, "failed", why), exit_code=1)
            raise
    if state == "preempted":
        log.info(f"Resume with: the same command and --resume {folder}")
    recorder.close(summary, exit_code)
    if display and state != "preempted":
        display.summary(summary, recorder.config, folder)
    return RunResult(recorder.config["run_id"], folder, state, summary, exit_code)


def _train(
    trainer: BaseTrainer, recorder: Recorder, stop: StopRequest
) -> tuple[str, int, str | None]:
    """Train to the end or to a stop; returns the run's state, exit code and reason."""

    def on_hang(reason: str) -> None:
        recorder.folder.note_alive()  # the time of the hang is lost, too
        recorder.write_summary(trainer, "preempted", f"it hung: {reason}")
        recorder.tracker.preempting()

    options = recorder.settings.run
    on_stop = on_hang if options.hang_action == "stop" else None
    with Watchdog(trainer, recorder.folder.path, options.hang_after, on_stop).watching():
        if train(trainer, recorder, stop):
            recorder.conclude(trainer)
            return "finished", 0, None
    if not stop.preempted:
        return "stopped", 0, stop.reason
    recorder.save(trainer)
    recorder.tracker.preempting()
    return "preempted", stop.exit_code, stop.reason


def _ignore(row: object) -> None:
    pass
