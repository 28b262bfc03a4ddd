"""The only place where a run speaks to Weights & Biases. A run never depends on it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.files import from_here
from common.media import Picture, Showing, Table
from experiment.settings import RunSettings
from tracking.server import DEFAULT_PROJECT, answers, choose_mode, host

INIT_SECONDS = 30
FINISH_SECONDS = 60
RISING = ("accuracy", "psnr", "ssim")  # better when larger; everything else is a loss


class Tracker:
    """One W&B run, or none (mode ``disabled``): history, tables, pictures, artifacts.

    Whatever goes wrong inside W&B is said once and never ends the run: ``metrics.csv`` and the
    run folder hold the same.
    """

    def __init__(self, settings: RunSettings, folder: Path, report: Callable[[str], None]) -> None:
        self.settings, self.folder, self.report = settings, folder, report
        self.mode, self.reason = choose_mode(settings)
        self.run: Any = None
        self.first_step = 0  # of those that W&B does not have yet
        self._address: dict[str, Any] = {"url": None, "folder": None, "sync_command": None}
        self._failed = self._silent = False
        self._user_data_dir = os.environ.get("WANDB_DATA_DIR")

    def start(
        self, *, run_id: str, name: str, config: dict[str, Any], tags: list[str], resumed: bool
    ) -> None:
        """Open the W&B run, offline if the server does not take it."""
        if self.mode == "disabled":
            return

        if self._user_data_dir is None:
            # Pictures in tables wait in W&B's data folder for the sync: keep them with the run.
            os.environ["WANDB_DATA_DIR"] = str(self.folder.resolve() / "wandb")
        arguments = {
            "project": self.settings.project or os.environ.get("WANDB_PROJECT", DEFAULT_PROJECT),
            "entity": self.settings.entity,
            "group": self.settings.group,
            "name": name,
            "id": run_id,
            "tags": [*self.settings.tags, *tags],
            "config": config,
            "job_type": os.environ.get("WANDB_JOB_TYPE", self.settings.task),
            "dir": os.environ.get("WANDB_DIR", str(self.folder.resolve())),
            "resume": "allow" if resumed else None,
        }
        earlier = _parts(Path(arguments["dir"]) / "wandb", run_id) if resumed else []
        self._init(arguments)
        if self.run is None:
            return
        self._where(earlier if self.mode == "offline" else [])
        if resumed:
            self.first_step = self.run.starting_step
            if self.mode == "offline":
                self.first_step = max((part.last_step for part in earlier), default=-1) + 1

    def _init(self, arguments: dict[str, Any]) -> None:
        """Open the run; where W&B does not, offline; where not even that, no tracking."""
        import wandb

        options = wandb.Settings(
            silent=True,
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
        )
        for mode in dict.fromkeys((self.mode, "offline")):
            if mode == "offline":
                arguments = arguments | {"resume": None}
            try:
                self.run = wandb.init(**arguments, mode=mode, settings=options)
            except Exception as error:  # whatever W&B does, the run goes on
                self.mode = "disabled"
                self.reason = f"the W&B server did not take the run: {_one_line(error)}"
                wandb.teardown()  # else its process takes the id for one in use
            else:
                self.mode = mode
                return

    def _where(self, earlier: list[Part]) -> None:
        """Note the W&B run's address, which outlives the W&B process."""
        folder = from_here(Path(self.run.settings.sync_dir))
        # One command each: W&B's client ends a command at the first part that was killed.
        commands = [_sync_command(from_here(part.folder)) for part in earlier]
        self._address = {
            "mode": self.mode,
            "url": self.run.url if self.mode == "online" else None,
            "folder": folder,
            "sync_command": " && ".join([*commands, _sync_command(folder)]),
        }

    def define(self, metrics: tuple[str, ...]) -> None:
        """Plot everything against images seen; the summary keeps the best of each loss too."""
        self._tell("define_metric", "images_seen")
        for metric in metrics:
            group, _, name = metric.partition("/")
            kept = "last"
            if group != "perf" and name != "lr":
                kept = f"{'max' if name.startswith(RISING) else 'min'},last"
            self._tell("define_metric", metric, step_metric="images_seen", summary=kept)

    def log(self, row: dict[str, Any], step: int) -> None:
        """One history row. A step that W&B already has (after a resume) is left as it is.

        Values that are not finite stay away: a sweep's agent could not order them.
        """
        finite = {k: v for k, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
        if step >= self.first_step:
            self._tell("log", finite, step=step)

    def show(self, showing: Showing, step: int) -> None:
        """Tables and a media panel of the demo pictures."""
        if self.run is not None and step >= self.first_step:
            self._try(lambda: self._show(showing, step))

    def _show(self, showing: Showing, step: int) -> None:
        import wandb

        row: dict[str, Any] = {}
        if self._can_wait():
            row = {t.name: _wandb_table(t) for t in showing.tables}
        if showing.gallery:
            row["demo"] = [wandb.Image(p.pixels, caption=p.caption) for p in showing.gallery]
        if showing.overview:
            row["overview"] = wandb.Image(showing.overview.pixels)
        self.run.log(row, step=step)

    def log_files(self, name: str, kind: str, files: list[Path], aliases: list[str]) -> None:
        """An artifact version ``name`` of type ``kind`` that holds ``files``."""
        if self.run is not None and self._can_wait():
            self._try(lambda: self._log_files(name, kind, files, aliases))

    def _log_files(self, name: str, kind: str, files: list[Path], aliases: list[str]) -> None:
        import wandb

        artifact = wandb.Artifact(name, type=kind)
        for file in files:
            artifact.add_file(str(file))
        self.run.log_artifact(artifact, aliases=aliases)

    def log_dataset(self, dataset: dict[str, Any]) -> None:
        """The data set as an artifact: a reference to where it lies, or how it was drawn."""
        if self.run is not None:
            self._try(lambda: self._log_dataset(dataset))

    def _log_dataset(self, dataset: dict[str, Any]) -> None:
        import wandb

        artifact = wandb.Artifact(f"data-{dataset['name']}", type="dataset", metadata=dataset)
        source = Path(dataset["source"])
        if source.exists():
            artifact.add_reference(source.resolve().as_uri(), name="images", checksum=False)
        else:
            with artifact.new_file("drawn.txt") as file:
                file.write(f"{dataset['source']}\nSHA-256 {dataset['checksum']}\n")
        self.run.log_artifact(artifact)

    def log_code(self, root: Path) -> None:
        """The project's own source as an artifact."""
        self._tell("log_code", str(root), name="convtune-source", include_fn=_is_source)

    def preempting(self) -> None:
        """Have W&B's agent start this run again: it was told to stop before its end."""
        self._tell("mark_preempting")

    def finish(self, exit_code: int, summary: dict[str, Any]) -> None:
        """Close the W&B run with its exit code; online, wait for the server at most a minute."""
        if self.run is not None:
            self._try(lambda: self.run.summary.update(summary))
            self._try(lambda: self._finish(exit_code))
        if self._failed:
            import wandb

            with contextlib.suppress(Exception):  # said already; else it fails again at exit
                wandb.teardown(exit_code)
        if self._user_data_dir is None:
            os.environ.pop("WANDB_DATA_DIR", None)

    def address(self) -> dict[str, Any]:
        """Where the W&B run is: mode, url (online), folder, and the command that uploads it.

        Of a run resumed offline, the command uploads all parts in turn.
        """
        return self._address | {"mode": self.mode}

    def _finish(self, exit_code: int) -> None:
        try:
            self.run.finish(exit_code=exit_code)
        except TimeoutError:
            self.report(
                f"W&B has not taken everything within {FINISH_SECONDS} s; upload the rest with: "
                f"{self._address['sync_command']}"
            )

    def _can_wait(self) -> bool:
        """Whether to send what W&B's client sends while the run waits: tables and artifacts.

        Metrics and pictures it keeps until the server is back.
        """
        well = self.mode == "offline" or answers(host())
        if not well and not self._silent:
            self._silent = True
            self.report(
                "the W&B server does not answer; the run goes on, its tables and models stay in "
                "the run folder until it does"
            )
        return well

    def _tell(self, method: str, *args: Any, **kwargs: Any) -> None:
        if self.run is not None:
            self._try(lambda: getattr(self.run, method)(*args, **kwargs))

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # whatever W&B does, the run goes on
            if not self._failed:
                self.report(f"W&B failed ({_one_line(error)}); the run goes on, see metrics.csv")
            self._failed = True


@dataclass(frozen=True)
class Part:
    """A W&B folder that an earlier process left of a run, and the last step in it."""

    folder: Path
    last_step: int


def _parts(folder: Path, run_id: str) -> list[Part]:
    """The parts of run ``run_id`` in W&B's ``folder`` that hold any steps, oldest first.

    Read by W&B's own tool, since a killed process leaves a part that lacks its tail.
    """
    parts = []
    found = folder.glob(f"*run-*-{run_id}")
    for path in sorted(found, key=lambda p: p.name.removeprefix("offline-")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json"]
        done = subprocess.run([*command, str(path)], capture_output=True, text=True)
        step = json.loads(done.stdout).get("step") if done.returncode == 0 else None
        if step is not None:
            parts.append(Part(path, int(step)))
    return parts


def _sync_command(folder: str) -> str:
    online = not Path(folder).name.startswith("offline-run-")
    return shlex.join(["wandb", "sync", *(["--include-online"] if online else []), folder])


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _is_source(path: str, root: str) -> bool:
    parts = Path(path).relative_to(root).parts
    return path.endswith((".py", ".yaml", "requirements.txt")) and not any(
        part in ("runs", "studies", "wandb", ".git") or "venv" in part for part in parts
    )


def _wandb_table(table: Table) -> Any:
    import wandb

    def cell(value: Any) -> Any:
        return wandb.Image(value.pixels) if isinstance(value, Picture) else value

    return wandb.Table(
        columns=list(table.columns), data=[[cell(value) for value in row] for row in table.rows]
    )
