"""Runs on a W&B server, read through the public API."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from common.errors import InputError
from experiment.settings import SETTINGS
from tracking.record import PICTURE_KINDS, DemoPicture, RunRecord, question_of

EXAMPLES = "ENTITY/PROJECT, ENTITY/PROJECT/RUN_ID or ENTITY/PROJECT/SWEEP_ID"


@dataclass(frozen=True, kw_only=True)
class WandbRun(RunRecord):
    """A run on a server; ``client`` and ``run`` are the public API's objects."""

    client: Any
    run: Any

    def curve(self, metric: str) -> list[tuple[float, float]]:
        keys = ["images_seen", metric]
        with explained(self.url or self.id):
            rows = list(self.run.scan_history(keys=keys))
        return [(row["images_seen"], row[metric]) for row in rows]

    def pictures(self) -> list[DemoPicture]:
        import wandb

        name = f"{self.project}/run-{self.id}-reconstructions:latest"
        try:
            table = self.client.artifact(name).get("reconstructions")
        except (wandb.errors.CommError, ValueError):  # no such table: a classifier, or cut short
            return []
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.data]
        return [_picture(row) for row in rows]


def _picture(row: dict[str, Any]) -> DemoPicture:
    return DemoPicture(
        index=row["index"],
        class_name=row["class"],
        side=row["side"],
        l1=row["l1"],
        l1_erased=row["l1_erased"],
        png={kind: _png(row[kind].image) for kind in PICTURE_KINDS},
    )


def _png(image: Any) -> bytes:
    image.save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def connect() -> Any:
    """W&B's public API; raises ``InputError`` without a key, or where no server answers."""
    os.environ.pop("WANDB_MODE", None)  # it is for training: what is on a server is online
    import wandb

    host = wandb.setup().settings.base_url
    with explained(host):
        if not wandb.login(prompt=False):
            raise InputError(
                f"no W&B API key for {host}: run wandb login or set WANDB_API_KEY, or give run "
                "folders instead of a W&B path"
            )
        return wandb.Api()


@contextmanager
def explained(what: str) -> Iterable[None]:
    """Turn the client's errors about ``what`` into one line."""
    import requests
    import wandb

    try:
        yield
    except (wandb.errors.Error, requests.RequestException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        text = " ".join(str(error).split())
        if isinstance(error, wandb.errors.AuthenticationError) or "authenticate" in text:
            raise InputError(
                f"{what}: does not answer, or does not accept this W&B API key ({text})"
            ) from None
        if re.search(r"permission|40[13]|forbidden|unauthori[sz]ed", text, re.IGNORECASE):
            raise InputError(
                f"{what}: no permission to read it with this W&B API key ({text})"
            ) from None
        if re.search(r"not find|not found|404", text, re.IGNORECASE):
            raise InputError(f"{what}: not found on the W&B server; give {EXAMPLES}") from None
        raise InputError(f"{what}: the W&B server could not be asked ({text})") from None


def wandb_records(source: str, api: Callable[[], Any] = connect) -> list[WandbRun]:
    """The runs of ``entity/project[/id]``, of a bare id, or of such an address on the server.

    A bare id is looked up in ``WANDB_ENTITY``/``WANDB_PROJECT``. Raises ``InputError``.
    """
    parts = _path_parts(source)
    client = api()
    if len(parts) == 1:
        entity, project = client.settings["entity"], client.settings["project"]
        if not entity or not project:
            raise InputError(
                f"{source}: no such file or folder; for a W&B id set WANDB_ENTITY and "
                f"WANDB_PROJECT, or give {EXAMPLES}"
            )
        parts = [entity, project, *parts]
    with explained(source):
        runs = _find(client, parts)
        sweeps: dict[str, tuple[str, str]] = {}
        records = [_record(client, run, sweeps) for run in runs]
    return [record for record in records if record.task in SETTINGS]  # reports are runs too


def _path_parts(source: str) -> list[str]:
    path = re.sub(r"^https?://[^/]+/", "", source).partition("?")[0]
    parts = [part for part in path.split("/") if part not in ("runs", "sweeps", "workspace", "")]
    named = all(re.fullmatch(r"[\w.-]+", part) for part in parts)
    if source[:1] in "./~" or not 1 <= len(parts) <= 3 or not named:
        raise InputError(
            f"{source}: no such file or folder, and not a W&B path; give a sweep file, a study, "
            f"run folders, or {EXAMPLES}"
        )
    return parts


def _find(client: Any, parts: list[str]) -> list[Any]:
    """The run, the sweep's runs or the project's runs at ``parts``; runs are tried first."""
    import wandb

    path = "/".join(parts)
    if len(parts) == 2:
        return list(client.runs(path, order="+created_at", lazy=False))
    try:
        return [client.run(path)]
    except (wandb.errors.CommError, ValueError) as error:
        if "not find" not in str(error) and "not found" not in str(error).lower():
            raise
    sweep = client.sweep(path)
    return list(client.runs("/".join(parts[:2]), filters={"sweep": sweep.id}, lazy=False))


def _record(client: Any, run: Any, sweeps: dict[str, tuple[str, str]]) -> WandbRun:
    name, question = _sweep_of(run, sweeps)
    return WandbRun(
        id=run.id,
        name=run.name or run.id,
        task=str(run.config.get("task")),
        state=_state(run),
        config=run.config,
        summary=summary_form(run.summary_metrics, run.config),
        project=f"{run.entity}/{run.project}",
        sweep=name,
        question=question,
        order=str(run.created_at),
        url=run.url,
        client=client,
        run=run,
    )


def _state(run: Any) -> str:
    """The server's word; a run that ended well says itself whether it was stopped early."""
    return str(
        run.summary_metrics.get("state") or "finished" if run.state == "finished" else run.state
    )


def _sweep_of(run: Any, sweeps: dict[str, tuple[str, str]]) -> tuple[str | None, str]:
    """Name and question of the run's sweep, offline or on the server."""
    name = (run.config.get("sweep") or {}).get("name")
    if name is None and run.sweep_name:
        if run.sweep_name not in sweeps:
            config = run.sweep.config if run.sweep else {}
            name = str(config.get("name") or run.sweep_name)
            sweeps[run.sweep_name] = name, str(config.get("description") or "") or question_of(name)
        return sweeps[run.sweep_name]
    return (name, question_of(name)) if name else (None, "")


def summary_form(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """W&B's summary in the form of a run folder's summary.json."""
    last: dict[str, float] = {}
    best: dict[str, float] = {}
    for key, value in metrics.items():
        if not re.match(r"(train|val|test|perf)/", key):
            continue
        if isinstance(value, Mapping):
            extreme = value.get("min", value.get("max"))
            if extreme is not None:
                best[key] = extreme
            if value.get("last") is not None:
                last[key] = value["last"]
        elif isinstance(value, (int, float)):
            last[key] = value
    network = config.get("network") or {}
    return {
        **{key: network.get(key) for key in ("parameters", "receptive_field", "multiply_adds")},
        "seconds": metrics.get("seconds", metrics.get("_runtime")),
        "images_seen": metrics.get("images_seen"),
        "images_total": metrics.get("images_total", metrics.get("images_seen")),
        "images_per_second": metrics.get("images_per_second", last.get("perf/images_per_second")),
        "last": last,
        "best": best,
    }
