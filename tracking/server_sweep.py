"""Sweeps on a W&B server: find, create, and read their runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import InputError
from tracking.api import connect, translate_errors


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep as the server has it."""

    id: str
    state: str
    url: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class ServerSweep:
    """A sweep on a server; ``path`` is ENTITY/PROJECT/ID, ``config`` what was sent to create it."""

    path: str
    url: str
    config: Mapping[str, Any]
    state: str

    def runs(self) -> list[SweepRun]:
        """Its runs, oldest first. Raises ``InputError`` where the server does not answer."""
        project, _, sweep_id = self.path.rpartition("/")
        with translate_errors(self.path):
            found = list(connect().runs(project, {"sweep": sweep_id}, "+created_at", lazy=False))
            return [
                SweepRun(run.id, run.state, run.url, run.config, dict(run.summary)) for run in found
            ]


def find_sweep(path: str) -> ServerSweep:
    """The sweep ENTITY/PROJECT/ID; raises ``NotFound`` or ``ServerUnavailable``."""
    client = connect()
    with translate_errors(path):
        try:
            found = client.sweep(path)
        except (AttributeError, TypeError) as error:  # the client's, for a path of one part
            raise ValueError(f"not found: {error}") from None
        return ServerSweep(path, found.url, found.config, str(found.state))


def create_sweep(config: Mapping[str, Any], project: str, entity: str | None) -> ServerSweep:
    """A new sweep on the server; raises ``InputError`` where it is refused."""
    import wandb

    place = {"project": project} | ({"entity": entity} if entity else {})
    client = connect()
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            sweep_id = wandb.sweep(dict(config) | place, entity=entity, project=project)
        except Exception as error:  # network, permission, the server's own checks
            reason = " ".join(str(error).split())
            raise InputError(f"W&B did not take the sweep: {reason}") from None
    return find_sweep(f"{entity or client.default_entity}/{project}/{sweep_id}")
