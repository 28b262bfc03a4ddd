"""``sweep``: one W&B sweep file, two engines."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from common.errors import InputError
from common.options import flag

WIDE = 10_000  # characters
POSITIVE = click.IntRange(min=1)


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What was asked on the command line."""

    file: Path | None
    mode: str | None
    join: str | None
    jobs: int | None
    gpus: str | None
    seeds: int | None
    images: int | None
    study: str | None
    runs_dir: str
    project: str | None
    entity: str | None
    retry_failed: bool
    status: bool
    dry_run: bool


@click.command("sweep")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--mode",
    type=click.Choice(["online", "offline", "disabled"]),
    help="Engine [default: online with an API key and a server, else offline].",
)
@click.option("--join", metavar="ENTITY/PROJECT/ID", help="Help with a sweep on W&B's server.")
@click.option("--jobs", type=POSITIVE, help="Workers here [default: 1, or one for each GPU].")
@click.option("--gpus", metavar="all|0,1", help="GPUs to spread the workers over.")
@click.option("--seeds", type=POSITIVE, help="Run every point under K seeds, 0 to K-1.")
@click.option(
    "--images",
    type=POSITIVE,
    help="Rehearsal: train each run on N images in all, and below 6000 validate on N/6.",
)
@click.option(
    "--study",
    metavar="FILE|URL",
    help="Offline: journal file, or the address of a PostgreSQL or MySQL database "
    "[default: studies/NAME.journal].",
)
@click.option("--runs-dir", default="runs", show_default=True, help="Where run folders are made.")
@click.option("--project", help="W&B project [WANDB_PROJECT, else that of the file].")
@click.option("--entity", help="W&B entity [WANDB_ENTITY, else that of the file].")
@click.option("--retry-failed", is_flag=True, help="Run the failed and missing points, no others.")
@click.option("--status", is_flag=True, help="List done, running, failed and missing points.")
@click.option("--dry-run", is_flag=True, help="Print the commands and run nothing.")
def sweep(**given: Any) -> int:
    """Run every point of a sweep FILE (W&B's YAML), each exactly once.

    Give the same command again to go on after a stop, or on another machine to help. Ctrl-C once
    finishes the runs in hand, twice stops now.

    Example: python train.py sweep sweep_configs/smoke.yaml --jobs 2
    """
    options = SweepOptions(**given)
    if options.file is None and options.join is None:
        raise InputError("give a sweep file, for example sweep_configs/smoke.yaml, or --join")
    _check_together(options)
    definition = _definition(options) if options.file else None
    if options.dry_run and definition:
        _check_here(definition)
        return _print_commands(definition)
    mode = _engine(options, definition)
    if mode == "online":
        return _online(options, definition)
    return _offline(options, definition, mode)


def _check_together(options: SweepOptions) -> None:
    """Refuse options of which one would be passed over in silence."""
    asked = [flag(n) for n in ("status", "dry_run", "retry_failed") if getattr(options, n)]
    if len(asked) > 1:
        raise InputError(f"{asked[0]} with {asked[1]}: give one of them, for example {asked[0]}")
    for name in ("seeds", "images"):
        if getattr(options, name) and options.file is None:
            raise InputError(
                f"--{name} with --join: the server says what is run; leave --{name} out"
            )


def _definition(options: SweepOptions) -> Any:
    from sweeps.space import read_sweep

    definition = read_sweep(options.file)
    if options.seeds:
        definition = definition.with_seeds(options.seeds)
    return definition.shortened(options.images) if options.images else definition


def _check_here(definition: Any) -> None:
    """Refuse what no run here would find; say so if the file's program is not what runs."""
    from sweeps.preflight import check_here, passed_over

    check_here(definition)
    note = passed_over(definition)
    if note:
        click.echo(note, err=True)


def _print_commands(definition: Any) -> int:
    if definition.method == "bayes":
        raise InputError(f"{definition.file}: a bayes sweep chooses its points as it goes; "
                         "--dry-run is for grid and random sweeps")  # fmt: skip
    from sweeps.study import points_of

    for point in points_of(definition):
        click.echo(shlex.join(["python", "train.py", *point.command(definition.task)]))
    return 0


def _engine(options: SweepOptions, definition: Any) -> str:
    from tracking.server import choose_connection

    if options.study and (options.join or options.mode == "online"):
        raise InputError("--study is for offline sweeps; leave it out, or --join and --mode online")
    if options.study:
        return "offline"
    connection = choose_connection(options.mode, options.project, options.entity)
    if options.join and connection.mode != "online":
        reason = connection.reason or f"mode {connection.mode}"
        raise InputError(f"--join {options.join}: needs W&B's server: {reason}")
    if connection.reason and not options.status:
        click.echo(f"Offline: {connection.reason}.")
    return connection.mode


def _place(options: SweepOptions, definition: Any) -> dict[str, str]:
    """Project and entity: from the options, the environment, or the file."""
    place = {}
    for key in ("project", "entity"):
        value = getattr(options, key) or os.environ.get(f"WANDB_{key.upper()}")
        value = value or (definition.config.get(key) if definition else None)
        if value:
            place[key] = value
    return place


def _offline(options: SweepOptions, definition: Any, mode: str) -> int:
    from sweeps.offline import OfflineSweep, log_folder
    from sweeps.progress import Board
    from sweeps.study import Study, default_place, standings_at
    from sweeps.workers import Crew, gpu_list

    where = options.study or default_place(definition)
    if options.status:
        return _print_status(definition, standings_at(where, definition))
    gpus = gpu_list(options.gpus)
    _check_here(definition)
    study = Study(where, definition, options.runs_dir)
    jobs = options.jobs or len(gpus) or 1
    tracking = {"mode": mode, "runs_dir": options.runs_dir} | _place(options, definition)
    crew = Crew(jobs, gpus, log_folder(where, definition))
    return OfflineSweep(study, crew, Board(definition, jobs), tracking).run(options.retry_failed)


def _online(options: SweepOptions, definition: Any) -> int:
    from sweeps.online import OnlineSweep, ServerSweep
    from sweeps.preflight import check_here
    from sweeps.progress import Board
    from sweeps.workers import ROOT, gpu_list
    from tracking.server import choose_connection

    if options.runs_dir != "runs":
        raise InputError(
            f"--runs-dir {options.runs_dir}: is for offline sweeps; W&B's agents work in the "
            "project's folder and its runs/"
        )
    gpus = gpu_list(options.gpus)
    if definition and not options.status:  # agents run the points in the project's folder
        check_here(definition, ROOT)
    connection = choose_connection(options.mode)
    place = {"project": connection.project} | _place(options, definition)
    if connection.entity:
        place.setdefault("entity", connection.entity)
    if options.join:
        server = ServerSweep(options.join, definition)
        if options.dry_run:
            return _print_commands(server.sweep)
        if not options.status:
            check_here(server.sweep, ROOT)
    else:
        server = ServerSweep.remembered(definition)
        if server is None and not options.status:
            server = ServerSweep.create(definition, place)
            server.remember()
    if options.status:
        if server is None:
            raise InputError(f"{definition.name} has not been started on W&B's server from here")
        return _print_status(server.sweep, server.standings())
    jobs = options.jobs or len(gpus) or 1
    board = Board(server.sweep, jobs)
    logs = Path("studies") / f"{server.sweep.file_name}-logs"
    return OnlineSweep(server, board, jobs, gpus, logs).run(options.retry_failed)


def _print_status(definition: Any, standings: list[Any]) -> int:
    from rich.console import Console

    from sweeps.progress import counts_line, standings_table

    # A pipe has no width: nothing is cut off where a program reads on.
    width = None if sys.stdout.isatty() else WIDE
    Console(width=width, soft_wrap=True).print(standings_table(definition, standings))
    click.echo(counts_line(standings))
    return 0
