"""The display of a run: a live progress bar in a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from tasks.metrics import format_value
from tasks.reference import beside_baseline

if TYPE_CHECKING:
    from tracking.tracker import Tracker
    from training.base import BaseTrainer

SPLITS = {"train": "training", "val": "validation", "test": "test"}
TIMES = {"wandb": "W&B", "lost": "restarts (lost)"}  # others are shown as they are called
PLAIN_SECONDS = 10  # between two lines where there is no terminal


def clock(seconds: float) -> str:
    """``75`` -> ``1:15``."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def data_line(data: dict[str, Any]) -> str:
    """What was read: images by split, the first classes, skipped files."""
    parts = [f"{data[kind]:,} {name}" for kind, name in SPLITS.items() if data[kind]]
    names = data["classes"]
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    classes = f"; {len(names)} classes: {shown}" if len(names) > 1 else ""
    passed = f"; {data['skipped']:,} files skipped" if data["skipped"] else ""
    return f"data {data['name']}: {', '.join(parts)} images{classes}{passed}"


def fallback_reason(data: dict[str, Any]) -> str | None:
    """Why synthetic images replace the data set of a run's config; None if they do not."""
    return data.get("fallback_reason", data.get("stand_in"))  # "stand_in" until November 2026


class BrokenPipeSafeConsole(Console):
    """A console that prints nothing more after its pipe was closed (``| head``)."""

    def on_broken_pipe(self) -> None:
        with contextlib.suppress(SystemExit):
            super().on_broken_pipe()


class Display:
    """Shows a run's rows: progress, the trained loss and the objective."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or BrokenPipeSafeConsole(highlight=False)
        phase = TextColumn("{task.fields[trainer].phase:8}", style="bold")  # read at each refresh
        self.bar = Progress(phase, BarColumn(None), TaskProgressColumn(), console=self.console)
        self.text = Text()
        self.live = Live(
            Group(self.bar, self.text), console=self.console, transient=True, refresh_per_second=4
        )
        self.known: dict[str, Any] = {}
        self.started = self.printed = time.monotonic()
        self.first_images: int | None = None

    def start(
        self, trainer: BaseTrainer, config: dict[str, Any], tracker: Tracker, folder: Path
    ) -> None:
        """Print net, data and tracking, and show the first bar."""
        data = config["dataset"]
        reason = fallback_reason(data)
        if reason:
            text = Text(
                f"Training on GARMENTS, synthetic images built into this project, because {reason}"
                "\nThe results do NOT compare with the logbooks. Give the real files' folder with "
                "--data-root, or name the data set with --data; --data garments hides this warning."
            )
            self.console.print(Panel(text, title="NOT THE REAL DATA", border_style="bold red"))
        self.print(
            f"{config['run_name']}: {config['network']['parameters']:,} parameters, "
            f"{trainer.total_images:,} images of {data['name']}, "
            f"{config['environment']['device']} in {config['environment']['precision']}, "
            f"run folder {folder}"
        )
        self.print(data_line(data))
        for remark in data.get("remarks", ()):
            self.print(f"data: {remark}")
        if tracker.reason:
            self.print(f"W&B is {tracker.mode}: {tracker.reason}")
        self.trainer = trainer
        self.task = self.bar.add_task("", total=trainer.total_images, trainer=trainer)
        if self.console.is_terminal:
            self.live.start()

    def print(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def update(self, row: Mapping[str, Any]) -> None:
        """Show the current figures; in a pipe, print a line at validations and every 10 seconds."""
        self.known.update(row)
        seen = int(self.known["images_seen"])
        if self.first_images is None:
            self.first_images, self.started = seen, time.monotonic()
        self.bar.update(self.task, completed=seen, total=self.trainer.total_images)
        self.text.plain = self._text(seen)
        now = time.monotonic()
        due = self.trainer.task.objective in row or now - self.printed > PLAIN_SECONDS
        if due and not self.console.is_terminal:
            self.printed = now
            self.print(f"train {self._text(seen)}")

    def _text(self, seen: int) -> str:
        done = seen - (self.first_images or 0)
        spent = time.monotonic() - self.started
        task, total = self.trainer.task, self.trainer.total_images
        left = clock(spent / done * (total - seen)) if done else "?"
        epoch, epochs = (images / len(task.data.train) for images in (seen, total))
        parts = [f"epoch {epoch:.2f}/{epochs:.2f}", f"{seen:,}/{total:,} images"]
        for key in (f"train/{task.loss_name}", task.objective):
            if key in self.known:
                parts.append(f"{key} {format_value(key, self.known[key])}")
        speed = self.known.get("perf/images_per_second")
        if speed:
            parts.append(f"{speed:,.0f} images/s")
        return "  ".join(parts if seen == total else [*parts, f"{left} left"])

    def summary(self, summary: dict[str, Any], config: dict[str, Any], folder: Path) -> None:
        """The closing table, then the paths and commands to copy."""
        self.print(summary["name"])  # a table's title would wrap at the table's width
        table = Table(show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name in ("parameters", "receptive_field", "multiply_adds"):
            if name in summary:
                table.add_row(name.replace("_", " "), f"{summary[name]:,}")
        for metric, value in summary["last"].items():
            if metric.startswith(("val/", "test/")):
                best = summary["best"].get(metric)
                aside = "" if best in (None, value) else f" (best net {format_value(metric, best)})"
                table.add_row(metric, f"{format_value(metric, value)}{aside}")
        table.add_row("time", clock(summary["seconds"]))
        if "time" in summary:
            times = summary["time"].items()
            spent = [f"{TIMES.get(name, name)} {clock(s)}" for name, s in times if s >= 0.5]
            if spent:
                table.add_row("spent in", ", ".join(spent))
            table.add_row("goodput", f"{summary['goodput']:.1%}")
        table.add_row("training images/s", f"{summary['images_per_second']:,.0f}")
        if fallback_reason(config["dataset"]):
            table.add_row("data", f"{config['dataset']['name']}, NOT the real data: see above")
        self.console.print(table)
        beside = beside_baseline(config, summary["last"])
        if beside:
            self.print(f"baseline    {beside}")
        where = summary["wandb"]
        self.print(f"run folder  {folder}")
        self.print(f"pictures    {folder / 'pictures' / 'final.png'}")
        self.print(f"W&B run     {where['url'] or where['folder'] or where['mode']}")
        if where["mode"] == "offline":
            self.print(f"upload it   {where['sync_command']}")
