"""Sweeps on a W&B server: find, create, and read their runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from common.errors import InputError
from tracking.api import connect, translate_errors


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
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            sweep_id = wandb.sweep(dict(config) | place, entity=entity, project=project)
        except Exception as error:  # network, permission, the server's own checks
            reason = " ".join(str(error).split())
            raise InputError(f"W&B did not take the sweep: {reason}") from None
    return f"{entity or client.default_entity}/{project}/{sweep_id}"
