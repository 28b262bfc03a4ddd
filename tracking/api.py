"""Runs, sweeps and tables on a W&B server, through the public API."""

import contextlib
import io
import re
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import InputError
from common.files import encodable
from tracking.record import (
    PICTURE_KINDS,
    DemoPicture,
    RunRecord,
    check_shape,
    command_of,
    demo_picture,
    read_all,
)
from tracking.server import key_problem, wandb_settings
from tracking.values import MAX_NAME

EXAMPLES = "ENTITY/PROJECT, ENTITY/PROJECT/RUN_ID or ENTITY/PROJECT/SWEEP_ID"


class NotFound(InputError):
    """The server answered that it has no such thing."""


class ServerUnavailable(InputError):
    """The server gave no usable answer: what was asked for may or may not exist."""


@dataclass(frozen=True, kw_only=True)
class WandbRun(RunRecord):
    """A run on a server; ``client`` and ``run`` are the public API's objects."""

    client: Any
    run: Any

    def curve(self, metric: str) -> list[tuple[float, float]]:
        with translate_errors(self.url or self.id):
            rows = list(self.run.scan_history(keys=["images_seen", metric]))
        return [(row["images_seen"], row[metric]) for row in rows]

    def examples(self) -> list[DemoPicture]:
        name = f"{self.project}/run-{self.id}-reconstructions:latest"
        try:
            with translate_errors(name):
                table = self.client.artifact(name).get("reconstructions")
        except NotFound:  # no such table: a classifier, or cut short
            return []
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.data]
        kinds = [kind for kind in PICTURE_KINDS if kind in table.columns]
        return [demo_picture(row, {kind: _png(row[kind].image) for kind in kinds}) for row in rows]


def _png(image: Any) -> bytes:
    image.save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def connect() -> Any:
    """W&B's public API. Raises ``InputError`` without a key, or where no server answers.

    WANDB_MODE and the mode in W&B's settings files are for training and play no part.
    """
    import wandb

    host = wandb_settings().base_url
    problem = key_problem(host)
    if problem:
        raise InputError(
            f"{problem} for {host}: run wandb login or set WANDB_API_KEY, or give run "
            "folders instead of a W&B path"
        )
    with translate_errors(host):
        return wandb.Api()


@contextlib.contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn the client's errors about ``what`` into one line.

    Raises ``NotFound`` for a "not found" answer and ``ServerUnavailable`` for any other failure.
    """
    import requests
    from wandb.errors import AuthenticationError, Error

    try:
        yield
    except (Error, requests.RequestException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        text = " ".join(str(error).split())
        message = text.replace(what, "") if "/" in what else text  # a name may hold "403", too
        if isinstance(error, AuthenticationError) or "authenticate" in message:
            problem = "does not answer, or does not accept this W&B API key"
        elif re.search(r"permission|\b40[13]\b|forbidden|unauthori[sz]ed", message, re.IGNORECASE):
            problem = "no permission to read it with this W&B API key"
        elif re.search(r"not find|not found|\b404\b", message, re.IGNORECASE):
            raise NotFound(f"{what}: not found on the W&B server; give {EXAMPLES}") from None
        else:
            problem = "the W&B server could not be asked"
        raise ServerUnavailable(f"{what}: {problem} ({text})") from None


def wandb_records(source: str) -> list[WandbRun]:
    """The runs of ``entity/project[/id]``, of a bare id, or of such an address on the server.

    A bare id is looked up in the entity and project of W&B's settings. Raises ``InputError``.
    """
    parts = _path_parts(source)
    client = connect()
    if len(parts) == 1:
        entity, project = client.settings["entity"], client.settings["project"]
        if not entity or not project:
            raise InputError(
                f"{source}: no such file or folder; for a W&B id set WANDB_ENTITY and "
                f"WANDB_PROJECT, or give {EXAMPLES}"
            )
        parts = [entity, project, *parts]
    with translate_errors(source):
        runs = [run for run in _find(client, parts) if "dataset" in run.config]  # not a report
        sweeps: dict[str, tuple[str, str]] = {}
        return read_all(runs, lambda run: _record(client, run, sweeps))


def _path_parts(source: str) -> list[str]:
    path = re.sub(r"^https?://[^/]+/", "", source)
    address = path != source
    parts = [part for part in path.partition("?")[0].split("/") if part]
    if len(parts) > 2 and parts[2] in ("runs", "sweeps", "workspace"):
        del parts[2]
    if address:
        parts = [urllib.parse.unquote(part) for part in parts]
    named = all(re.fullmatch(r"[^/\\#?%:]+", part) for part in parts)
    if source[:1] in "./~" or not 1 <= len(parts) <= 3 or not named:
        raise InputError(
            f"{source}: no such file or folder, and not a W&B path; give a sweep file, a study, "
            f"run folders, or {EXAMPLES}"
        )
    return parts


def _find(client: Any, parts: list[str]) -> list[Any]:
    """The run, the sweep's runs or the project's runs at ``parts``; runs are tried first."""
    from wandb.errors import CommError

    path = "/".join(parts)
    if len(parts) == 2:
        return list(client.runs(path, order="+created_at", lazy=False))
    try:
        return [client.run(path)]
    except (CommError, ValueError) as error:
        if "not find" not in str(error) and "not found" not in str(error).lower():
            raise
    sweep = client.sweep(path)
    return list(client.runs("/".join(parts[:2]), filters={"sweep": sweep.id}, lazy=False))


def _record(client: Any, run: Any, sweeps: dict[str, tuple[str, str]]) -> WandbRun:
    check_shape(f"{run.entity}/{run.project}/{run.id}", run.config, {})
    sweep = run.config.get("sweep") or {}
    name, question = sweep.get("name"), ""
    if name is None and run.sweep_name:
        if run.sweep_name not in sweeps:
            about = run.sweep.config if run.sweep else {}
            title = str(about.get("name") or run.sweep_name)
            sweeps[run.sweep_name] = title, str(about.get("description") or "")
        name, question = sweeps[run.sweep_name]
    summary = summary_form(run.summary_metrics, run.config)
    # Of a run that ended well, its own state: it may have been stopped early.
    own_state = run.summary_metrics.get("state") if run.state == "finished" else None
    return WandbRun(
        id=run.id,
        name=str(run.name or run.id),
        command=command_of(run.config),
        state=str(own_state or run.state),
        config=run.config,
        summary=summary,
        project=f"{run.entity}/{run.project}",
        sweep=name,
        sweep_file=sweep.get("file"),
        question=question,
        order=str(summary.get("ended_at") or run.config.get("started_at") or run.created_at),
        url=run.url,
        client=client,
        run=run,
    )


def summary_form(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """W&B's summary in the form of a run folder's summary.json."""
    found: dict[str, dict[str, float]] = {"last": {}, "best": {}}
    for key, value in metrics.items():
        if re.match(r"(train|val|test|perf)/", key):
            kept = value if isinstance(value, Mapping) else {"last": value}
            numbers = {"best": kept.get("min", kept.get("max")), "last": kept.get("last")}
            for name, number in numbers.items():
                if isinstance(number, (int, float)):
                    found[name][key] = number
    network = config.get("network") or {}
    speed = metrics.get("images_per_second", found["last"].get("perf/images_per_second"))
    return {
        **{key: network.get(key) for key in ("parameters", "receptive_field", "multiply_adds")},
        **{key: metrics.get(key) for key in ("reason", "ended_at", "images_seen")},
        "seconds": metrics.get("seconds", metrics.get("_runtime")),
        "images_total": metrics.get("images_total", metrics.get("images_seen")),
        "images_per_second": speed,
        **found,
    }


def log_tables(
    entity: str, project: str, name: str, tables: Mapping[str, tuple[Sequence[str], Sequence[Any]]]
) -> tuple[str, str]:
    """Log tables (columns, rows) by key in a run of job type ``report``; returns its id and url."""
    import wandb

    wandb_settings()
    with tempfile.TemporaryDirectory() as folder:
        run = wandb.init(
            entity=entity, project=project, name=name[:MAX_NAME], job_type="report",
            mode="online", dir=folder,
        )  # fmt: skip
        run.log({
            key: wandb.Table(
                columns=list(columns), data=encodable(list(rows)), allow_mixed_types=True
            )
            for key, (columns, rows) in tables.items()
        })  # fmt: skip
        run.finish()
    return run.id, str(run.url)


def find_sweep(path: str) -> Any:
    """The sweep ENTITY/PROJECT/ID of the public API; raises ``NotFound``, ``ServerUnavailable``."""
    client = connect()
    with translate_errors(path):
        try:
            return client.sweep(path)
        except (AttributeError, TypeError) as error:  # the client's, for a path of one part
            raise ValueError(f"not found: {error}") from None


def runs_of(path: str) -> list[Any]:
    """The runs of a sweep, oldest first. Raises ``InputError`` where the server does not answer."""
    project, _, sweep_id = path.rpartition("/")
    with translate_errors(path):
        return list(connect().runs(project, {"sweep": sweep_id}, "+created_at", lazy=False))


def create_sweep(config: Mapping[str, Any], project: str, entity: str | None) -> str:
    """The path of a new sweep on the server; raises ``InputError`` where it is refused."""
    import wandb

    place = {"project": project} | ({"entity": entity} if entity else {})
    client = connect()
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            sweep_id = wandb.sweep(dict(config) | place, entity=entity, project=project)
        except Exception as error:  # network, permission, the server's own checks
            raise InputError(f"W&B did not take the sweep: {error}") from None
    return f"{entity or client.default_entity}/{project}/{sweep_id}"


def offline_run(folder: str, project: str) -> Any:
    """A W&B run that is written to ``folder`` only (for benchmarks)."""
    import wandb

    wandb_settings()
    return wandb.init(mode="offline", dir=folder, project=project)
