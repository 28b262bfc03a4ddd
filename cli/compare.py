"""``compare`` and ``report``: runs from anywhere into tables, pictures and pages."""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import Value
from common.errors import InputError, nearest

SOURCES_HELP = (
    "SOURCE is a run folder, a folder of runs, an offline study, a sweep file (its runs are "
    "looked for in --runs-dir) or a W&B path: entity/project, or that with a run or sweep id."
)
FORMATS = ("rich", "markdown", "csv", "json", "latex")
ENDINGS = {".md": "markdown", ".csv": "csv", ".json": "json", ".tex": "latex"}
_SOURCES = click.argument("sources", nargs=-1, metavar="SOURCE...")
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
    "--format", "format_", type=Value("NAME"), metavar="|".join(FORMATS),
    help="Form of the table [default: by the ending of --out (md, csv, json, tex), else rich].",
)  # fmt: skip
@click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN falls.")
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
    runs_dir: str,
) -> int:  # fmt: skip
    """Compare runs in the logbook's table: ranked, with spread over seeds and published values.

    Example: python train.py compare sweep_configs/smoke.yaml --plots plots
    """
    if format_ is None:
        format_ = ENDINGS.get(Path(out or "").suffix.lower(), "rich")
    if format_ not in FORMATS:
        raise InputError(
            f"--format {format_}: must be one of {', '.join(FORMATS)}.{nearest(format_, FORMATS)}"
        )
    from reports.collect import collect
    from reports.formats import FORMATS as WRITERS
    from reports.table import tables_of

    names = [name.strip() for name in (columns or "").split(",") if name.strip()]
    runs = collect(_given(sources), Path(runs_dir), all_runs=all_runs)
    tables = tables_of(runs, sort=sort, columns=names, metric=metric)
    text = WRITERS[format_](tables)
    if out:
        _write(Path(out), text)
    else:
        click.echo(text, nl=False)
    if plots:
        from reports.plots import save_plots

        paths, without = save_plots(tables, Path(plots))
        _list("Plots", paths)
        if without:
            click.echo(f"No curves of {', '.join(without)}: one validation a run", err=True)
    if images:
        from reports.pictures import save_sheets

        _list("Pictures", save_sheets(tables, Path(images)))
    return 0


@click.command(epilog=SOURCES_HELP)
@_SOURCES
@click.option("--html", metavar="FILE", help="Write one self-contained page instead.")
@click.option("--share", is_flag=True, help="Make a link that anyone can open (W&B Report).")
@_METRIC
@_ALL
@_RUNS_DIR
def report(
    sources: tuple[str, ...], html: str | None, share: bool, metric: str | None, all_runs: bool,
    runs_dir: str,
) -> int:  # fmt: skip
    """Make a W&B Report of a comparison, or with --html a page that needs no server.

    Example: python train.py report sweep_configs/smoke.yaml --html report.html
    """
    if html and share:
        raise InputError("--share: a page is a file that you send; leave out --share or --html")
    from reports.collect import collect
    from reports.table import tables_of

    runs = collect(_given(sources), Path(runs_dir), all_runs=all_runs)
    tables = tables_of(runs, metric=metric)
    if html:
        from reports.page import page

        _write(Path(html), page(tables))
        return 0
    from reports.online import publish

    done = publish(tables, share=share)
    click.echo(f"{'Updated' if done.updated else 'Created'} {done.url}")
    click.echo(f"The table as data: {done.run_url}")
    if done.share:
        click.echo(f"Anyone can open: {done.share}")
    else:
        click.echo("Members of its team can open it; --share makes a link for anyone.")
    return 0


def _given(sources: tuple[str, ...]) -> tuple[str, ...]:
    if not sources:
        raise InputError(
            "SOURCE: missing; give run folders, a sweep file, a study or a W&B path, for example "
            "python train.py compare runs"
        )
    return sources


def _write(path: Path, text: str) -> None:
    from common.files import write_output

    try:
        write_output(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    click.echo(f"Wrote {path}", err=True)


def _list(what: str, paths: list[Path]) -> None:
    click.echo(f"{what}: {', '.join(map(str, paths)) or 'nothing to draw'}", err=True)
