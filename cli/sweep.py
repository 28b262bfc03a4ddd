"""``sweep``: one W&B sweep file, two engines."""

import json
import os
import shlex
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from common.errors import InputError
from common.files import require_writable_folder
from common.options import flag

WIDE = 10_000  # characters
POSITIVE = click.IntRange(min=1)
WATCH_SECONDS = 5
EXCLUSIVE = (
    ("status", "dry_run"), ("status", "retry_failed"), ("dry_run", "retry_failed"),
    ("new", "join"), ("new", "status"), ("project", "join"), ("entity", "join"),
)  # fmt: skip
NEEDED = {"watch": "status", "json": "status", "val_images": "images"}  # an option: what it needs


@click.command("sweep")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--mode",
    type=click.Choice(["online", "offline", "disabled"]),
    help="Engine [default: online with an API key and a server, else offline].",
)
@click.option("--join", metavar="ENTITY/PROJECT/ID", help="Run agents for an existing sweep.")
@click.option("--new", is_flag=True, help="Online: start another sweep of the same file.")
@click.option("--jobs", type=POSITIVE, help="Number of local workers [default: 1, or one per GPU].")
@click.option("--gpus", metavar="all|0,1", help="GPUs to spread the workers over.")
@click.option("--seeds", type=POSITIVE, help="Run every point under K seeds, 0 to K-1.")
@click.option(
    "--images",
    type=POSITIVE,
    help="Rehearsal: train each run on N images in all, and below 6000 validate on N/6.",
)
@click.option("--val-images", type=POSITIVE, help="With --images: validate on the first N images.")
@click.option("--count", type=POSITIVE, help="Train at most N points in this command.")
@click.option("--max-failures", type=POSITIVE, help="Stop after N failed points.")
@click.option(
    "--max-hours",
    type=click.FloatRange(min=0, min_open=True),
    help="Start no further point after H hours.",
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
@click.option("--tags", metavar="A,B", help="W&B tags of every run.")
@click.option("--notes", metavar="TEXT", help="W&B notes of every run.")
@click.option("--skip-invalid", is_flag=True, help="Leave out grid points that cannot be built.")
@click.option("--retry-failed", is_flag=True, help="Run the failed and missing points, no others.")
@click.option("--status", is_flag=True, help="List done, running, failed and missing points.")
@click.option("--watch", is_flag=True, help="With --status: show it again every 5 seconds.")
@click.option("--json", is_flag=True, help="With --status: print JSON.")
@click.option("--dry-run", is_flag=True, help="Print the commands and run nothing.")
def sweep(**given: Any) -> int:
    """Run every point of a sweep FILE (W&B's YAML), each exactly once.

    Give the same command again to continue after a stop, or on another machine to help. Ctrl-C once
    finishes the current runs, twice stops now.

    Example: python train.py sweep sweep_configs/smoke.yaml --jobs 2
    """
    from sweeps.sweep_file import read_sweep

    options = SimpleNamespace(**given)
    if options.file is None and options.join is None:
        raise InputError("give a sweep file, for example sweep_configs/smoke.yaml, or --join")
    _check_together(options)
    definition = read_sweep(options.file, options.skip_invalid) if options.file else None
    if definition and options.seeds:
        definition = definition.with_seeds(options.seeds)
    if definition and options.images:
        definition = definition.shortened(options.images, options.val_images)
    if definition and options.dry_run:
        definition.check_data()
        return _print_commands(definition)
    connection = _connection(options, definition)
    if connection.mode == "online":
        return _online(options, definition, connection)
    return _offline(options, definition, connection.mode)


def _check_together(options: SimpleNamespace) -> None:
    """Refuse options of which one would be passed over in silence."""
    given = {name for name, value in vars(options).items() if value}
    for first, second in EXCLUSIVE:
        if {first, second} <= given:
            raise InputError(f"{flag(first)} with {flag(second)}: give one of them")
    for name, base in NEEDED.items():
        if name in given and base not in given:
            raise InputError(f"{flag(name)}: needs {flag(base)}; give both")
    for name in ("seeds", "images"):
        if name in given and options.file is None:
            raise InputError(
                f"--{name} with --join: the server says what is run; leave --{name} out"
            )


def _print_commands(definition: Any) -> int:
    if definition.method == "bayes":
        raise InputError(f"{definition.file}: a bayes sweep chooses its points as it goes; "
                         "--dry-run is for grid and random sweeps")  # fmt: skip
    from sweeps.study import points_of

    for point in points_of(definition):
        click.echo(shlex.join(["python", "train.py", *point.arguments(definition)]))
    return 0


def _connection(options: SimpleNamespace, definition: Any) -> Any:
    """Where the sweep runs: on W&B's server where its mode is online, else on a study here."""
    from tracking.server import Connection, check_project, check_tags, choose_connection

    if options.study and (options.join or options.mode == "online"):
        raise InputError("--study is for offline sweeps; leave it out, or --join and --mode online")
    check_tags((options.tags or "").split(","))
    if definition and not options.status:
        check_tags(definition.config.get("tags") or (), f"{definition.file}: tags")
        check_project(definition.config.get("project"), f"{definition.file}: project ")
    if options.study:
        check_project(options.project)
        return Connection(options.mode or "offline")
    connection = choose_connection(options.mode, options.project, options.entity)
    if options.join and connection.mode != "online":
        reason = connection.reason or f"mode {connection.mode}"
        raise InputError(f"--join {options.join}: needs W&B's server: {reason}")
    if connection.reason and definition and definition.path(".wandb").exists():
        raise InputError(
            f"{definition.file}: its sweep is on W&B's server, but {connection.reason}; try again "
            "later, or give --mode offline to train its points here once more"
        )
    if connection.reason and not options.status:
        click.echo(f"Offline: {connection.reason}.")
    return connection


def _project_and_entity(options: SimpleNamespace, definition: Any) -> dict[str, str]:
    """Project and entity: from the options, the environment, or the file."""
    config = definition.config if definition else {}
    place = {
        key: getattr(options, key) or os.environ.get(f"WANDB_{key.upper()}") or config.get(key)
        for key in ("project", "entity")
    }
    return {key: value for key, value in place.items() if value}


def _labels(options: SimpleNamespace, definition: Any) -> dict[str, str]:
    """Tags and notes of every run: from the options, else from the file."""
    config = definition.config
    tags = options.tags or ",".join(config.get("tags") or ())
    labels = {"tags": tags, "notes": options.notes or config.get("notes")}
    return {key: value for key, value in labels.items() if value}


def _run_options(options: SimpleNamespace) -> dict[str, Any]:
    """What both engines are told about when to stop."""
    names = ("count", "retry_failed", "max_failures", "max_hours")
    return {name: getattr(options, name) for name in names}


def _offline(options: SimpleNamespace, definition: Any, mode: str) -> int:
    from sweeps.study import statuses_at

    where = options.study or str(definition.path(".journal"))
    if options.status:
        return _print_status(options, definition, lambda: statuses_at(where, definition))
    if options.new:
        raise InputError("--new: is for sweeps on W&B's server; give --study FILE for another here")
    from sweeps.children import Children, gpu_list
    from sweeps.offline import log_folder, run_offline
    from sweeps.sampling import Hyperband
    from sweeps.storage import named_errors
    from sweeps.study import Study
    from sweeps.worker import Job

    gpus = gpu_list(options.gpus)
    definition.check_data()
    Hyperband.of(definition)  # refuses what is not known offline
    command = uuid.uuid4().hex
    place, labels = _project_and_entity(options, definition), _labels(options, definition)
    job = Job(
        study=where, file=str(definition.file), definition=definition.plain_config(),
        command=command, runs_dir=options.runs_dir, seeds=options.seeds,
        skip_invalid=options.skip_invalid, tracking={"mode": mode} | place | labels,
    )  # fmt: skip
    children = Children(options.jobs or len(gpus) or 1, gpus, log_folder(where, definition))
    with named_errors(where):
        study = Study(where, definition, options.runs_dir, command)
        require_writable_folder(children.logs)
        return run_offline(study, job, children, **_run_options(options))


def _online(options: SimpleNamespace, definition: Any, connection: Any) -> int:
    from sweeps.children import ROOT, Children, gpu_list
    from sweeps.online import OnlineSweep, known_sweep, remember, run_online

    if options.runs_dir != "runs":
        raise InputError(
            f"--runs-dir {options.runs_dir}: is for offline sweeps; W&B's agents work in the "
            "project's folder and its runs/"
        )
    gpus = gpu_list(options.gpus)
    online = None
    if options.join:
        online = OnlineSweep.join(options.join, definition, options.skip_invalid)
        definition = online.sweep
        if options.dry_run:
            return _print_commands(definition)
    elif not options.new:
        online = known_sweep(definition)
    if options.status:
        if online is None:
            raise InputError(f"{definition.name} has not been started on W&B's server from here")
        return _print_status(options, definition, online.statuses)
    definition.check_data(ROOT)  # agents run the points in the project's folder
    if online is None:
        require_writable_folder(definition.path(".wandb").parent)
        place = {"project": connection.project, "entity": connection.entity}
        online = OnlineSweep.create(definition, place | _project_and_entity(options, definition))
        remember(online)
    jobs = options.jobs or len(gpus) or 1
    children = Children(jobs, gpus, definition.path("-logs"), kind="agent")
    # What agents pass on to their runs.
    labels = _labels(options, definition) | {"run_group": definition.config.get("group")}
    env = {f"WANDB_{key.upper()}": value for key, value in labels.items() if value}
    about = {"name": definition.name, "file": str(definition.file)}
    env["CONVTUNE_SWEEP"] = json.dumps(about)
    return run_online(online, children, env=env, **_run_options(options))


def _print_status(options: SimpleNamespace, definition: Any, read: Any) -> int:
    from rich.console import Console

    from sweeps.progress import counts_line, note_of, status_table

    # A pipe has no width: nothing is cut off where a program reads on.
    console = Console(width=None if sys.stdout.isatty() else WIDE, soft_wrap=True)
    while True:
        statuses = read()
        if options.json:
            points = [
                {"state": s.state, "args": s.args, "value": s.value, "note": note_of(s)}
                for s in statuses
            ]
            metric = {"name": definition.metric, "goal": definition.goal}
            click.echo(json.dumps({"sweep": definition.name, "metric": metric, "points": points}))
        else:
            if options.watch and sys.stdout.isatty():
                console.clear()
            console.print(status_table(definition, statuses))
            click.echo(counts_line(statuses))
        if not options.watch or all(s.state not in ("running", "missing") for s in statuses):
            return 0
        time.sleep(WATCH_SECONDS)
