"""Writes one run to Weights & Biases. A run never depends on it."""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.files import encodable, relative_to_cwd
from common.log import log
from common.media import Examples
from tasks.metrics import goal_of
from tracking.server import Connection, answers, wandb_settings
from tracking.settings import TrackingSettings
from tracking.sync import last_offline_step, sync_command
from tracking.values import (
    MAX_NAME,
    MAX_TAG,
    add_files_by_reference,
    artifact_name,
    cut,
    encodable_command_line,
    wandb_table,
)

INIT_SECONDS = 30
FINISH_SECONDS = 60
FIXED_PICTURES = 8  # of the gallery, also logged under a key each: W&B compares runs by key


def _never_raises(method: Callable[..., object]) -> Callable[..., None]:
    """Decorator: nothing without a W&B run; an error of W&B is reported once and ends nothing."""

    @functools.wraps(method)
    def call(tracker: "Tracker", *args: Any, **kwargs: Any) -> None:
        try:
            if tracker.run is not None:
                method(tracker, *args, **kwargs)
        except Exception as error:  # whatever W&B does, the run goes on
            if not tracker.failed:
                log.warning(f"W&B failed ({_one_line(error)}); the run goes on, see metrics.csv")
            tracker.failed = True

    return call


class Tracker:
    """One W&B run, or none (mode ``disabled``): history, tables, pictures, artifacts.

    What goes wrong inside W&B is reported once and never ends the run: ``metrics.csv`` and the
    run folder hold the same.
    """

    def __init__(
        self, settings: TrackingSettings, connection: Connection, folder: Path, job_type: str
    ) -> None:
        self.settings, self.connection = settings, connection
        self.folder, self.job_type = folder, job_type
        self.mode, self.reason = connection.mode, connection.reason
        self.run: Any = None
        self.first_step = 0  # of those that W&B does not have yet
        self.failed = False
        self._address: dict[str, Any] = {"url": None, "folder": None, "sync_command": None}
        self._reported_unavailable = self._set_data_dir = False

    def start(
        self, *, run_id: str, name: str, config: dict[str, Any], tags: list[str], resumed: bool
    ) -> None:
        """Open the W&B run, offline if the server does not take it."""
        if self.mode == "disabled":
            return
        folder = self._files_folder()
        arguments = self._arguments(name, tags) | {
            "id": run_id,
            "config": encodable(config),
            "dir": str(folder),
            "resume": "allow" if resumed else _resume_of_new_run(),
        }
        if os.environ.get("WANDB_SWEEP_ID"):  # W&B's agent has set these, and W&B warns of others
            arguments = {k: v for k, v in arguments.items() if k not in ("project", "entity", "id")}
        last_step = last_offline_step(folder / "wandb", run_id) if resumed else -1
        self._open(arguments)
        if self.run is None:
            return
        if "WANDB_DATA_DIR" not in os.environ:
            # Pictures in tables wait in W&B's data folder for the sync: keep them with the run.
            os.environ["WANDB_DATA_DIR"] = str(self.folder.resolve() / "wandb")
            self._set_data_dir = True
        self._address = {  # it must outlive the W&B process
            "url": self.run.url if self.mode == "online" else None,
            "folder": self.run.settings.sync_dir,
            "sync_command": sync_command(self.folder),
        }
        if resumed:
            self.first_step = self.run.starting_step if self.mode == "online" else last_step + 1

    def _arguments(self, name: str, tags: list[str]) -> dict[str, Any]:
        """Arguments of wandb.init that name the run, within W&B's limits."""
        given = list(self.settings.tags) or list(self.connection.tags)
        cut_tags = [cut(tag.strip(), MAX_TAG) for tag in (*given, *tags)]
        return self.connection.arguments | {
            "group": cut(self.settings.group, MAX_NAME),
            "notes": encodable(self.settings.notes),
            "name": cut(name, MAX_NAME),
            "tags": list(dict.fromkeys(filter(None, cut_tags))),
            "job_type": None if self.connection.job_type else cut(self.job_type, MAX_NAME),
        }

    def _files_folder(self) -> Path:
        """Where W&B's own files go: WANDB_DIR, or the run folder if that cannot be written."""
        own = self.folder.resolve()
        given = os.environ.get("WANDB_DIR")
        if not given:
            return own
        try:
            folder = Path(given).expanduser().resolve()
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                return folder
            reason = "no permission"
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        log.warning(
            f"WANDB_DIR={given} cannot be written ({reason}): W&B's files are kept in "
            f"{relative_to_cwd(own / 'wandb')}"
        )
        return own

    def _open(self, arguments: dict[str, Any]) -> None:
        """Open the run; where W&B refuses, offline; where that fails too, without tracking."""
        import wandb

        limits = wandb.Settings(finish_timeout=FINISH_SECONDS, finish_timeout_raises=True)
        if "WANDB_INIT_TIMEOUT" not in os.environ:
            limits.init_timeout = INIT_SECONDS
        for mode in dict.fromkeys((self.mode, "offline")):
            if mode == "offline":
                arguments = arguments | {"resume": None}
            if mode != self.connection.mode:
                arguments = arguments | {"mode": mode}
            try:
                wandb_settings()  # quiet, but for warnings
                with encodable_command_line():
                    self.run = wandb.init(**arguments, settings=limits)
            except Exception as error:  # whatever W&B does, the run goes on
                self.mode = "disabled"
                self.reason = f"the W&B server did not take the run: {_one_line(error)}"
                wandb.teardown()  # else its process takes the id for one in use
            else:
                self.mode = mode
                return

    def define(self, metrics: tuple[str, ...]) -> None:
        """Plot everything against images seen; the summary keeps the best of each loss too."""
        self._define("images_seen")
        for metric in map(encodable, metrics):
            group, _, name = metric.partition("/")
            kept = "last"
            if group != "perf" and name != "lr":
                kept = f"{'max' if goal_of(metric) == 'maximize' else 'min'},last"
            self._define(metric, step_metric="images_seen", summary=kept)

    @_never_raises
    def _define(self, metric: str, **options: str) -> None:
        self.run.define_metric(metric, **options)

    @_never_raises
    def log(self, row: Mapping[str, Any], *, final: bool = False) -> None:
        """Log one history row; a step that W&B already has (after a resume) is left as it is.

        ``final`` is logged all the same, under the next step: it stands beside the last
        validation. Values that are not finite are left out: a sweep's agent could not order them.
        """
        step = int(row["step"])
        values = {k: v for k, v in row.items() if k != "step" and math.isfinite(v)}
        if final or step >= self.first_step:
            self.run.log(encodable(values), step=max(step, self.first_step))

    @_never_raises
    def log_examples(self, examples: Examples, step: int, *, final: bool = False) -> None:
        """Log tables and the demo pictures: as a list, and the first ones under a key each.

        Steps and ``final`` as for ``log``.
        """
        import wandb

        if step < self.first_step and not final:
            return
        row: dict[str, Any] = {}
        if self._server_available():
            row = {t.name: wandb_table(t) for t in examples.tables}
        if examples.gallery:
            pictures = [
                wandb.Image(p.pixels, caption=encodable(p.caption)) for p in examples.gallery
            ]
            row["demo"] = pictures
            row |= {f"demo/{n}": p for n, p in enumerate(pictures[:FIXED_PICTURES])}
        if examples.overview:
            row["overview"] = wandb.Image(examples.overview.pixels)
        self.run.log(row, step=max(step, self.first_step))

    @_never_raises
    def log_model(self, name: str, file: Path, aliases: list[str]) -> None:
        """Log a version of the artifact ``name`` of type ``model`` that holds ``file``."""
        import wandb

        if self._server_available():
            artifact = wandb.Artifact(artifact_name(name), type="model")
            artifact.add_file(str(file))
            self.run.log_artifact(artifact, aliases=aliases)

    @_never_raises
    def log_dataset(self, dataset: Mapping[str, Any]) -> None:
        """Log the data set as an artifact: a reference to its files, or how it was made."""
        import wandb

        name, about = artifact_name(f"data-{dataset['name']}"), encodable(dataset)
        artifact = wandb.Artifact(name, type="dataset", metadata=about)
        if not add_files_by_reference(artifact, dataset):
            with artifact.new_file("drawn.txt") as file:
                file.write(f"{encodable(dataset['source'])}\nSHA-256 {dataset['checksum']}\n")
        self.run.log_artifact(artifact)

    @_never_raises
    def log_code(self, root: Path) -> None:
        """Log the project's own source as an artifact, unless W&B's settings forbid it."""
        if self.run.settings.save_code is not False:  # WANDB_DISABLE_CODE
            self.run.log_code(str(root), name="convtune-source", include_fn=_is_source)

    @_never_raises
    def preempting(self) -> None:
        """Mark the run as preempted, so that W&B's agent starts it again."""
        self.run.mark_preempting()

    def finish(self, exit_code: int, summary: dict[str, Any]) -> None:
        """Close the W&B run with its exit code; online, wait for the server at most a minute."""
        self._update_summary(summary)
        self._finish(exit_code)
        if self.failed:
            import wandb

            with contextlib.suppress(Exception):  # reported already; else it fails again at exit
                wandb.teardown(exit_code)
        if self._set_data_dir:
            os.environ.pop("WANDB_DATA_DIR", None)

    @_never_raises
    def _update_summary(self, summary: dict[str, Any]) -> None:
        self.run.summary.update(encodable(summary))

    @_never_raises
    def _finish(self, exit_code: int) -> None:
        try:
            self.run.finish(exit_code=exit_code)
        except TimeoutError:
            log.warning(
                f"W&B has not taken everything within {FINISH_SECONDS} s; upload the rest with: "
                f"{self._address['sync_command']}"
            )

    def address(self) -> dict[str, Any]:
        """Where the W&B run is: mode, url (online), folder, and the command that uploads it."""
        return {"mode": self.mode} | self._address

    def _server_available(self) -> bool:
        """Whether blocking uploads (tables, artifacts) may be sent; W&B's client keeps the rest."""
        available = self.mode == "offline" or answers(self.connection.host)
        if not available and not self._reported_unavailable:
            self._reported_unavailable = True
            log.warning(
                "the W&B server does not answer; the run goes on, its tables and models stay in "
                "the run folder until it does"
            )
        return available


def _resume_of_new_run() -> str | None:
    """Never replace the history of another run that was given the same id on the server."""
    alone = "WANDB_RUN_ID" in os.environ and "WANDB_SWEEP_ID" not in os.environ
    return "never" if alone and "WANDB_RESUME" not in os.environ else None


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _is_source(path: str, root: str) -> bool:
    parts = Path(path).relative_to(root).parts
    return path.endswith((".py", ".yaml", "requirements.txt")) and not any(
        part in ("runs", "studies", "wandb", ".git") or "venv" in part for part in parts
    )
