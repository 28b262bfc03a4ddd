"""A saved W&B workspace: the runs of a comparison, panels grouped as their keys are."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from typing import Any

from common.errors import InputError
from reports.online import heading_of, home_of, runs_filter, system_panels, wr
from reports.table import Table
from tracking.api import connect, translate_errors
from tracking.tracker import FIXED_PICTURES

SECTIONS = {
    "val": "Validation (val/)", "test": "Test (test/)", "train": "Training (train/)",
    "perf": "Speed and memory (perf/)",
}  # fmt: skip


def save_workspace(tables: Sequence[Table]) -> str:
    """Save the workspace of the comparison; returns a line with its address.

    Raises ``InputError`` for runs that are not on a W&B server, and where the server does not let
    us.
    """
    entity, project = home_of([run for table in tables for row in table.rows for run in row.runs])
    connect()
    workspace = workspace_of(tables, entity, project)
    view = importlib.import_module("wandb_workspaces.workspaces.internal").View
    # The same comparison has the same name on the server.
    title = f"{entity}/{project}/{workspace.name}"
    name = f"nw-{hashlib.sha256(title.encode()).hexdigest()[:11]}-v"
    workspace._internal_name = name
    with translate_errors(f"{entity}/{project}"):
        try:
            workspace._internal_id = view.from_name(entity, project, name).id
        except ValueError as error:  # no such workspace, or no such project
            if "Workspace" not in str(error):
                raise InputError(f"{entity}/{project}: {error}") from None
        done = "Updated" if workspace._internal_id else "Created"
        workspace.save()
    return f"{done} {workspace.url}"


def workspace_of(tables: Sequence[Table], entity: str, project: str) -> Any:
    """The workspace, not saved: a section a group of keys, the pictures by run, the system."""
    ws = importlib.import_module("wandb_workspaces.workspaces")
    runs = [run for table in tables for row in table.rows for run in row.runs]
    keys = {key for run in runs for key in run.last}
    sections = []
    for group, title in SECTIONS.items():
        chosen = sorted(key for key in keys if key.startswith(f"{group}/"))
        panels = [wr.LinePlot(title=key, x="images_seen", y=[key]) for key in chosen]
        if panels:
            sections.append(ws.Section(name=title, panels=panels, is_open=group == "val"))
    if any(table.task == "restoration" for table in tables):
        pictures = [
            wr.MediaBrowser(media_keys=[f"demo/{n}"], mode="gallery", gallery_axis="run")
            for n in range(FIXED_PICTURES)
        ]
        sections.insert(1, ws.Section(name="Pictures by run (demo/)", panels=pictures))
    sections.append(ws.Section(name="System", panels=system_panels()))
    return ws.Workspace(
        entity=entity,
        project=project,
        name=heading_of(tables),
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="images_seen", max_runs=100),
        runset_settings=ws.RunsetSettings(filters=[runs_filter([run.id for run in runs])]),
    )
