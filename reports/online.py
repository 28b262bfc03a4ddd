"""A comparison on a W&B server: a W&B Report with the table as data, or a saved workspace."""

import hashlib
import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import InputError
from reports.formats import to_markdown
from reports.pictures import slug
from reports.settings_of import command_of
from reports.table import Table, plain, runs_of, show, title
from tracking.api import connect, log_tables, translate_errors
from tracking.record import RunRecord
from tracking.tracker import FIXED_PICTURES
from tracking.values import MAX_NAME

# The package does not export its classes as types.
wr: Any = importlib.import_module("wandb_workspaces.reports.v2")
ws: Any = importlib.import_module("wandb_workspaces.workspaces")
expr: Any = importlib.import_module("wandb_workspaces.expr")
Rows = list[tuple[int, list[Any]]]  # height of a row, and its panels from left to right
SECTIONS = {
    "val": "Validation (val/)", "test": "Test (test/)", "train": "Training (train/)",
    "perf": "Speed and memory (perf/)",
}  # fmt: skip


def publish(tables: Sequence[Table], *, share: bool = False) -> list[str]:
    """Create the W&B Report of the comparison, or update the one of the same title.

    ``share`` makes a link with which anyone can read it without an account. Returns lines for the
    user. Raises ``InputError`` for runs that are not on a W&B server, and where the server does
    not let us.
    """
    entity, project = _home_of(runs_of(tables))
    home = {"entity": entity, "project": project}
    heading = heading_of(tables)
    client = connect()
    with translate_errors(f"{entity}/{project}"):
        old = [r for r in client.reports(f"{entity}/{project}") if r.display_name == heading]
        data = {f"comparison-{slug(table.name)}": _columns_and_rows(table) for table in tables}
        run_id, run_url = log_tables(entity, project, heading, data)
        report = wr.Report(**home, title=heading, width="fluid")
        report.id = old[0].id if old else ""
        report.description = tables[0].question.partition("\n\n")[0].replace("\n", " ")
        report.blocks = [block for table in tables for block in _blocks(table, home)]
        panels = [(12, [wr.WeavePanelSummaryTable(table_name=key)]) for key in data]
        report.blocks += [
            wr.P("Each key's meaning, unit and better direction: docs/metrics.md of the project."),
            wr.H2("The tables as data"),
            _grid(wr.Runset(**home, name="report", filters=[_runs_filter([run_id])]), panels),
        ]
        report.save()
        readers = "Members of its team can open it; --share makes a link for anyone."
        if share:
            readers = f"Anyone can open: {report.enable_share_link()}"
    done = "Updated" if old else "Created"
    return [f"{done} {report.url}", f"The table as data: {run_url}", readers]


def heading_of(tables: Sequence[Table]) -> str:
    """The title of the comparison, within W&B's limit.

    Runs given one by one that are not of one sweep have a hash of their ids in it: a comparison of
    others is another one.
    """
    text = "Comparison of " + ", ".join(table.name for table in tables)
    runs = runs_of(tables)
    sweeps = {run.sweep for run in runs}
    loose = all(run.named for run in runs) and (len(sweeps) > 1 or None in sweeps)
    ids = sorted(run.id for run in runs) if loose else []
    if len(text) <= MAX_NAME and not ids:
        return text
    digest = hashlib.sha256(" ".join([text, *ids]).encode()).hexdigest()
    return f"{text[: MAX_NAME - 9]} {digest[:8]}"


def _home_of(runs: Sequence[RunRecord]) -> tuple[str, str]:
    """Entity and project of the runs, which must be on a server."""
    offline = [run for run in runs if run.url is None]
    if offline:
        raise InputError(
            f"{len(offline)} of the {len(runs)} runs are not on a W&B server (the first is "
            f"{offline[0].name}): upload them with python train.py sync RUN, or write a "
            "page with --html FILE"
        )
    path = re.sub(r"^https?://[^/]+/", "", runs[0].url or "").split("/")
    return path[0], path[1]


def _columns_and_rows(table: Table) -> tuple[list[str], list[list[Any]]]:
    rows = [plain(row, table.columns) for row in table.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[row.get(name) for name in names] for row in rows]


def _blocks(table: Table, home: Mapping[str, str]) -> list[Any]:
    best = table.rows[0]
    settings = "\n".join(f"{name}: {show(value)}" for name, value in best.settings.items())
    ids = [run.id for run in runs_of([table])]
    return [
        wr.H1(table.name),
        *(wr.P(paragraph.replace("\n", " ")) for paragraph in table.question.split("\n\n")),
        wr.MarkdownBlock(to_markdown([table]).partition("\n")[2].strip()),
        _grid(wr.Runset(**home, name=table.name, filters=[_runs_filter(ids)]), panels_of(table)),
        wr.H2(f"Best run: {best.label(table.varying)}"),
        wr.P(wr.Link(best.runs[0].name, best.runs[0].url)),
        wr.MarkdownBlock(f"```bash\n{command_of(best.runs[0])}\n```"),
        wr.CodeBlock(settings, language="yaml"),
    ]


def panels_of(table: Table) -> Rows:
    """Curves, costs, importance of the settings, and the demo pictures of the compared runs."""
    metric, last = table.metric, wr.SummaryMetric(f"{table.metric}.last")
    names = [name for name in table.varying if name not in ("checksum", "run")]
    axis = wr.ParallelCoordinatesPlotColumn
    columns = [axis(wr.Config(name), display_name=title(name)) for name in names]
    curve = {"x": "images_seen", "y": [metric]}
    costs = {
        "parameters": wr.Config("network.parameters"),
        "multiply-adds": wr.Config("network.multiply_adds"),
        "receptive field": wr.Config("network.receptive_field"),
        "seconds": wr.SummaryMetric("seconds"),
    }
    rows: Rows = [
        (9, [
            wr.LinePlot(title=metric, max_runs_to_show=100, **curve),
            wr.LinePlot(
                title=f"{metric}, mean and range of each {title(table.varying[0])}",
                groupby=wr.Config(table.varying[0]), groupby_aggfunc="mean",
                groupby_rangefunc="minmax", **curve,
            ),
        ]),
        (9, [
            wr.ScatterPlot(
                title=f"{metric} against {name}", x=x, y=last, log_x=name != "receptive field"
            )
            for name, x in costs.items()
        ]),
        (9, [
            wr.ParallelCoordinatesPlot(
                columns=[*columns, axis(last, display_name=metric)], title="Settings and result"
            ),
            wr.ParameterImportancePlot(f"{metric}.last"),
        ]),
        (8, _system_panels()),
    ]  # fmt: skip
    if table.task == "restoration":
        pictures = wr.MediaBrowser(
            title="The same pictures for every run: input, output, target, error",
            media_keys=["demo"], mode="grid", grid_x_axis="index", grid_y_axis="run",
        )  # fmt: skip
        rows.append((16, [pictures]))
    return rows


def _system_panels() -> list[Any]:
    """CPU, memory and GPU over the runs' time."""
    keys = {"CPU, %": "system/cpu", "Memory, %": "system/memory_percent",
            "GPU, %": "system/gpu.0.gpu"}  # fmt: skip
    return [wr.LinePlot(title=name, x="_runtime", y=[key]) for name, key in keys.items()]


def _runs_filter(run_ids: Sequence[str]) -> Any:
    """Shows these runs and no others."""
    return expr.Metric("ID").isin(list(run_ids))


def _grid(runset: Any, rows: Rows) -> Any:
    """The panels, each row over W&B's whole width of 24."""
    y = 0
    for height, panels in rows:
        width = 24 // len(panels)
        for n, panel in enumerate(panels):
            panel.layout = wr.Layout(x=n * width, y=y, w=width, h=height)
        y += height
    return wr.PanelGrid(runsets=[runset], panels=[panel for _, row in rows for panel in row])


def save_workspace(tables: Sequence[Table]) -> str:
    """Save the workspace of the comparison; returns a line with its address.

    Raises ``InputError`` for runs that are not on a W&B server, and where the server does not let
    us.
    """
    entity, project = _home_of(runs_of(tables))
    connect()
    workspace = workspace_of(tables, entity, project)
    # The same comparison has the same name on the server.
    address = f"{entity}/{project}/{workspace.name}"
    name = f"nw-{hashlib.sha256(address.encode()).hexdigest()[:11]}-v"
    workspace._internal_name = name
    with translate_errors(f"{entity}/{project}"):
        try:
            workspace._internal_id = ws.internal.View.from_name(entity, project, name).id
        except ValueError as error:  # no such workspace, or no such project
            if "Workspace" not in str(error):
                raise InputError(f"{entity}/{project}: {error}") from None
        done = "Updated" if workspace._internal_id else "Created"
        workspace.save()
    return f"{done} {workspace.url}"


def workspace_of(tables: Sequence[Table], entity: str, project: str) -> Any:
    """The workspace, not saved: a section a group of keys, the pictures by run, the system."""
    runs = runs_of(tables)
    keys = {key for run in runs for key in run.last}
    sections = []
    for group, heading in SECTIONS.items():
        chosen = sorted(key for key in keys if key.startswith(f"{group}/"))
        panels = [wr.LinePlot(title=key, x="images_seen", y=[key]) for key in chosen]
        if panels:
            sections.append(ws.Section(name=heading, panels=panels, is_open=group == "val"))
    if any(table.task == "restoration" for table in tables):
        pictures = [
            wr.MediaBrowser(media_keys=[f"demo/{n}"], mode="gallery", gallery_axis="run")
            for n in range(FIXED_PICTURES)
        ]
        sections.insert(1, ws.Section(name="Pictures by run (demo/)", panels=pictures))
    sections.append(ws.Section(name="System", panels=_system_panels()))
    return ws.Workspace(
        entity=entity,
        project=project,
        name=heading_of(tables),
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="images_seen", max_runs=100),
        runset_settings=ws.RunsetSettings(filters=[_runs_filter([run.id for run in runs])]),
    )
