"""``compare`` and ``report``: runs from anywhere into tables, pictures and pages."""

import os
import shutil
import sys
from pathlib import Path

import click

from common.errors import InputError, one_of
from common.files import write_output

SOURCES_HELP = (
    "SOURCE is a run folder, a folder of runs, an offline study, a sweep file (its runs are "
    "looked for in --runs-dir), a CSV file of results (compare only), or a W&B path: "
    "entity/project, or that with a run or sweep id."
)
FORMATS = {
    "rich": ".txt", "markdown": ".md", "csv": ".csv", "json": ".json", "latex": ".tex",
}  # the ending of a file in each form  # fmt: skip
_SOURCES = click.argument("sources", nargs=-1, metavar="SOURCE...", required=True)
_ALL = click.option(
    "--all", "all_runs", is_flag=True, help="Also show settings that a sweep file no longer holds."
)
_METRIC = click.option(
    "--metric", metavar="NAME",
    help="Rank by this metric [default: that of the sweep file, else the task's].",
)  # fmt: skip
_RUNS_DIR = click.option(
    "--runs-dir", default="runs", metavar="FOLDER", help="Where a sweep's run folders are.",
    show_default=True,
)  # fmt: skip


@click.command(epilog=SOURCES_HELP)
@_SOURCES
@click.option(
    "--format", "format_", metavar="|".join(FORMATS),
    help="Form of the table [default: by the ending of --out, else rich].",
)  # fmt: skip
@click.option(
    "--goal", type=click.Choice(("minimize", "maximize")),
    help="Direction of --metric [default: the metric's own].",
)  # fmt: skip
@click.option("--top", type=click.IntRange(1), metavar="N", help="Show the first N rows only.")
@click.option(
    "--baseline", metavar="RUN", help="Show the metric's difference in % from this run's row."
)
@click.option("--best", is_flag=True, help="Show the first row only, as --top 1.")
@click.option(
    "--group-by", metavar="SETTING,…",
    help="One row a value of these settings, over all runs that have it.",
)  # fmt: skip
@click.option(
    "--where", multiple=True, metavar="CONDITION",
    help="Show rows that meet this, such as 'lr<0.01' or act=gelu; may be repeated.",
)  # fmt: skip
@click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN: largest first.")
@click.option("--columns", metavar="A,B,…", help="Show these columns only.")
@click.option("--out", metavar="FILE", help="Write the table to a file.")
@click.option("--plots", metavar="FOLDER", help="Draw curves and trade-offs there, as PNG.")
@click.option("--images", metavar="FOLDER", help="Put the demo pictures side by side there.")
@_METRIC
@_ALL
@_RUNS_DIR
def compare(
    sources: tuple[str, ...], format_: str | None, sort: str | None, columns: str | None,
    out: str | None, plots: str | None, images: str | None, metric: str | None, all_runs: bool,
    runs_dir: str, goal: str | None, top: int | None, best: bool, where: tuple[str, ...],
    baseline: str | None, group_by: str | None,
) -> int:  # fmt: skip
    """Compare runs in the logbook's table: ranked, with spread over seeds and published values.

    Example: python train.py compare sweep_configs/smoke.yaml --plots plots
    """
    format_ = format_ or _format_of(Path(out or ""))
    if format_ not in FORMATS:
        raise InputError(f"--format {format_}: {one_of(format_, FORMATS)}")
    from reports.collect import collect
    from reports.comparison import tables_of
    from reports.formats import WRITERS, to_rich
    from reports.selection import select

    names, groups = (
        [name.strip() for name in (text or "").split(",") if name.strip()]
        for text in (columns, group_by)
    )
    runs = collect(sources, Path(runs_dir), all_runs=all_runs, metric=metric)
    tables = select(
        tables_of(runs, metric=metric, goal=goal, group_by=groups), sort=sort, columns=names,
        where=where, top=1 if best else top, baseline=baseline,
    )  # fmt: skip
    narrow = format_ == "rich" and not out
    text = to_rich(tables, _terminal_width()) if narrow else WRITERS[format_](tables)
    drawn = {}  # before the table, so that nothing is printed if they cannot be written
    if plots:
        from reports.plots import save_plots

        drawn["Plots"] = save_plots(tables, Path(plots))
    if images:
        from reports.pictures import save_sheets

        drawn["Pictures"] = save_sheets(tables, Path(images))
    if out:
        _write(Path(out), text)
    else:
        click.echo(text, nl=False)
    for what, paths in drawn.items():
        _list(what, paths)
    return 0


@click.command(epilog=SOURCES_HELP)
@_SOURCES
@click.option("--html", metavar="FILE", help="Write one self-contained page instead.")
@click.option("--workspace", is_flag=True, help="Save a W&B workspace of the runs instead.")
@click.option("--share", is_flag=True, help="Make a link that anyone can open (W&B Report).")
@_METRIC
@_ALL
@_RUNS_DIR
def report(
    sources: tuple[str, ...], html: str | None, workspace: bool, share: bool, metric: str | None,
    all_runs: bool, runs_dir: str,
) -> int:  # fmt: skip
    """Make a W&B Report of a comparison, or with --html a page that needs no server.

    Example: python train.py report sweep_configs/smoke.yaml --html report.html
    """
    if html and share:
        raise InputError("--share: a page is a file that you send; leave out --share or --html")
    if workspace and (html or share):
        raise InputError("--workspace: leave out --html and --share, which make something else")
    from reports.collect import collect
    from reports.comparison import tables_of

    for source in sources:
        if Path(source).suffix.lower() == ".csv":
            raise InputError(f"{source}: a results file holds no runs; give their folders")
    tables = tables_of(collect(sources, Path(runs_dir), all_runs=all_runs), metric=metric)
    if html:
        from reports.page import page

        _write(Path(html), page(tables))
    else:
        from reports.online import publish, save_workspace

        lines = [save_workspace(tables)] if workspace else publish(tables, share=share)
        click.echo("\n".join(lines))
    return 0


def _format_of(out: Path) -> str:
    """The format that a file's ending names. Raises ``InputError`` for one that names none."""
    ending = out.suffix.lower() or ".txt"
    for name, known in FORMATS.items():
        if ending == known or (out.exists() and not out.is_file()):
            return name
    hint = " (a page is made by report --html)" if ending in (".html", ".htm") else ""
    raise InputError(
        f"--out {out}: the ending must be one of {', '.join(FORMATS.values())}{hint}, or give "
        "--format, for example --format csv"
    )


def _terminal_width() -> int | None:
    """Characters in a line of the terminal; None where the output is no terminal."""
    known = os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty()
    return shutil.get_terminal_size().columns if known else None


def _write(path: Path, text: str) -> None:
    write_output(path, text)
    click.echo(f"Wrote {path}", err=True)


def _list(what: str, paths: list[Path]) -> None:
    click.echo(f"{what}: {', '.join(map(str, paths)) or 'nothing to draw'}", err=True)
