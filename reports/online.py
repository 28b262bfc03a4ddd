"""A comparison as a W&B Report, and as a table in a W&B run of job type ``report``."""

import importlib
import re
from collections.abc import Sequence
from typing import Any

from common.errors import InputError
from reports.formats import to_markdown
from reports.pictures import slug
from reports.settings_of import command_of
from reports.table import Table, plain
from reports.words import show, title
from tracking.api import connect, log_tables, translate_errors
from tracking.record import RunRecord

# The package does not export its classes as types.
wr: Any = importlib.import_module("wandb_workspaces.reports.v2")
expr: Any = importlib.import_module("wandb_workspaces.expr")


def publish(tables: Sequence[Table], *, share: bool = False) -> list[str]:
    """Create the W&B Report of the comparison, or update the one of the same title.

    ``share`` makes a link with which anyone can read it without an account. Returns lines for the
    user. Raises ``InputError`` for runs that are not on a W&B server, and where the server does
    not let us.
    """
    entity, project = home_of([run for table in tables for row in table.rows for run in row.runs])
    client = connect()
    heading = heading_of(tables)
    with translate_errors(f"{entity}/{project}"):
        old = [r for r in client.reports(f"{entity}/{project}") if r.display_name == heading]
        data = {_key(table): _columns_and_rows(table) for table in tables}
        run_id, run_url = log_tables(entity, project, heading, data)
        report = wr.Report(entity=entity, project=project, title=heading, width="fluid")
        report.id = old[0].id if old else ""
        report.description = tables[0].question.partition("\n\n")[0].replace("\n", " ")
        report.blocks = [block for table in tables for block in _blocks(table, entity, project)]
        report.blocks += [
            wr.P("Each key's meaning, unit and better direction: docs/metrics.md of the project."),
            wr.H2("The tables as data"),
            _data_panels(tables, entity, project, run_id),
        ]
        report.save()
        readers = "Members of its team can open it; --share makes a link for anyone."
        if share:
            readers = f"Anyone can open: {report.enable_share_link()}"
    done = "Updated" if old else "Created"
    return [f"{done} {report.url}", f"The table as data: {run_url}", readers]


def heading_of(tables: Sequence[Table]) -> str:
    """The title of the comparison, within W&B's limit."""
    name = tables[0].name if len(tables) == 1 else f"{len(tables)} sweeps"
    return f"Comparison of {name}"[:128]


def home_of(runs: Sequence[RunRecord]) -> tuple[str, str]:
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


def _key(table: Table) -> str:
    return f"comparison-{slug(table.name)}"


def _columns_and_rows(table: Table) -> tuple[list[str], list[list[Any]]]:
    rows = [plain(row, table.columns) for row in table.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[row.get(name) for name in names] for row in rows]


def _blocks(table: Table, entity: str, project: str) -> list[Any]:
    best = min(table.rows, key=lambda row: row.values["place"])
    settings = "\n".join(f"{name}: {show(value)}" for name, value in best.settings.items())
    return [
        wr.H1(table.name),
        *(wr.P(paragraph.replace("\n", " ")) for paragraph in table.question.split("\n\n")),
        wr.MarkdownBlock(to_markdown([table]).partition("\n")[2].strip()),
        _run_panels(table, entity, project),
        wr.H2(f"Best run: {best.label(table.varying)}"),
        wr.P(wr.Link(best.runs[0].name, best.runs[0].url)),
        wr.MarkdownBlock(f"```bash\n{command_of(best.runs[0])}\n```"),
        wr.CodeBlock(settings, language="yaml"),
    ]


def _run_panels(table: Table, entity: str, project: str) -> Any:
    """Curves, costs, importance of the settings, and the demo pictures of the compared runs."""
    final = wr.SummaryMetric(f"{table.metric}.last")
    columns = [
        wr.ParallelCoordinatesPlotColumn(wr.Config(name), display_name=title(name))
        for name in table.varying
        if name not in ("checksum", "run")
    ]
    columns.append(wr.ParallelCoordinatesPlotColumn(final, display_name=table.metric))

    def at(x: int, y: int, w: int, h: int) -> Any:
        return wr.Layout(x=x, y=y, w=w, h=h)

    panels = [
        wr.LinePlot(
            title=table.metric, x="images_seen", y=[table.metric], max_runs_to_show=100,
            layout=at(0, 0, 12, 9),
        ),
        wr.LinePlot(
            title=f"{table.metric}, mean and range of each {title(table.varying[0])}",
            x="images_seen", y=[table.metric], groupby=wr.Config(table.varying[0]),
            groupby_aggfunc="mean", groupby_rangefunc="minmax", layout=at(12, 0, 12, 9),
        ),
        *_cost_panels(table.metric, [at(6 * n, 9, 6, 9) for n in range(4)]),
        wr.ParallelCoordinatesPlot(
            columns=columns, title="Settings and result", layout=at(0, 18, 12, 9)
        ),
        wr.ParameterImportancePlot(f"{table.metric}.last", layout=at(12, 18, 12, 9)),
        *system_panels([at(8 * n, 27, 8, 8) for n in range(3)]),
    ]  # fmt: skip
    if table.task == "restoration":
        panels.append(
            wr.MediaBrowser(
                title="The same pictures for every run: input, output, target, error",
                media_keys=["demo"], mode="grid", grid_x_axis="index", grid_y_axis="run",
                layout=at(0, 35, 24, 16),
            )
        )  # fmt: skip
    ids = [run.id for row in table.rows for run in row.runs]
    return wr.PanelGrid(runsets=[_runset(table.name, entity, project, ids)], panels=panels)


def _cost_panels(metric: str, layouts: Sequence[Any]) -> list[Any]:
    """The metric against parameters, multiply-adds, receptive field and time."""
    costs = {
        "parameters": wr.Config("network.parameters"),
        "multiply-adds": wr.Config("network.multiply_adds"),
        "receptive field": wr.Config("network.receptive_field"),
        "seconds": wr.SummaryMetric("seconds"),
    }
    return [
        wr.ScatterPlot(
            title=f"{metric} against {name}", x=x, y=wr.SummaryMetric(f"{metric}.last"),
            log_x=name != "receptive field", layout=layout,
        )
        for (name, x), layout in zip(costs.items(), layouts, strict=True)
    ]  # fmt: skip


def system_panels(layouts: Sequence[Any] = ()) -> list[Any]:
    """CPU, memory and GPU over the runs' time."""
    keys = {"CPU, %": "system/cpu", "Memory, %": "system/memory_percent",
            "GPU, %": "system/gpu.0.gpu"}  # fmt: skip
    places = layouts or [wr.Layout()] * len(keys)
    return [
        wr.LinePlot(title=name, x="_runtime", y=[key], layout=place)
        for (name, key), place in zip(keys.items(), places, strict=True)
    ]


def _data_panels(tables: Sequence[Table], entity: str, project: str, run_id: str) -> Any:
    panels = [
        wr.WeavePanelSummaryTable(
            table_name=_key(table), layout=wr.Layout(x=0, y=12 * n, w=24, h=12)
        )
        for n, table in enumerate(tables)
    ]
    return wr.PanelGrid(runsets=[_runset("report", entity, project, [run_id])], panels=panels)


def _runset(name: str, entity: str, project: str, run_ids: Sequence[str]) -> Any:
    chosen = [expr.Metric("ID").isin(list(run_ids))]
    return wr.Runset(entity=entity, project=project, name=name, filters=chosen)
