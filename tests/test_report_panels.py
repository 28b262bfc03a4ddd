"""W&B's panels, the page's figures and pictures, without a server or a browser."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from common.media import Examples, Picture, grid
from reports.collect import collect
from reports.comparison import tables_of
from reports.figures import figures_of, text
from reports.online import heading_of, panels_of, workspace_of
from reports.pictures import Sprites, pictures_of
from tests.conftest import ROOT
from tests.fake_runs import fake_run
from tracking.record import PICTURE_KINDS, read_run_folder
from tracking.tracker import Tracker


@pytest.mark.parametrize(("command", "pictures"), [("unet", 1), ("resconv", 1), ("classify", 0)])
def test_every_restoration_shows_its_demo_pictures(tmp_path, command, pictures) -> None:
    run = read_run_folder(fake_run(tmp_path, "a", 0.1, task=command))
    (table,) = tables_of([run])
    panels = [panel for _, row in panels_of(table) for panel in row]
    assert sum(type(panel).__name__ == "MediaBrowser" for panel in panels) == pictures


def test_the_workspace_groups_panels_by_prefix_and_pictures_by_run(tmp_path) -> None:
    runs = [read_run_folder(fake_run(tmp_path, name, 0.1, ks=ks)) for name, ks in ("a3", "b5")]
    workspace = workspace_of(tables_of(runs), "me", "convtune")
    view = workspace._to_model()
    assert (view.display_name, view.entity) == ("Comparison of runs", "me")
    one, other = (heading_of(tables_of([replace(run, named=True)])) for run in runs)
    assert one != other and one.startswith("Comparison of runs ")
    sections = {section.name: section.panels for section in workspace.sections}
    titles = {name: [panel.title for panel in panels] for name, panels in sections.items()}
    assert titles["Validation (val/)"] == ["val/l1", "val/l1_erased", "val/psnr"]
    assert titles["Training (train/)"] == ["train/l1"]
    pictures = sections["Pictures by run (demo/)"]
    assert [panel.media_keys for panel in pictures] == [[f"demo/{n}"] for n in range(8)]
    assert {panel.gallery_axis for panel in pictures} == {"run"}
    assert titles["System"] == ["CPU, %", "Memory, %", "GPU, %"]
    assert all(run.id in view.spec.model_dump_json() for run in runs)


def test_eight_demo_pictures_are_also_logged_under_a_key_each() -> None:
    """W&B compares runs picture by picture by their keys."""
    tracker = object.__new__(Tracker)
    tracker.first_step = 0
    tracker.mode, tracker.run = "offline", SimpleNamespace(log=lambda row, step: logged.update(row))
    logged: dict = {}
    gallery = [Picture(np.full((4, 4), n, np.uint8), f"{n}-strip", str(n)) for n in range(20)]
    tracker.log_examples(Examples(gallery=gallery), step=0)
    assert sorted(logged) == ["demo", *(f"demo/{n}" for n in range(8))]
    assert len(logged["demo"]) == 20 and logged["demo/7"] is logged["demo"][7]


def test_a_metric_that_wandb_refuses_does_not_stop_the_others() -> None:
    def define_metric(name: str, **_: str) -> None:
        asked.append(name)
        if name == "images_seen":
            raise ValueError("no")

    asked: list[str] = []
    tracker = object.__new__(Tracker)
    tracker.run, tracker.failed = SimpleNamespace(define_metric=define_metric), False
    tracker.define(("val/l1", "train/lr"))
    assert asked == ["images_seen", "val/l1", "train/lr"]


def test_earlier_outputs_are_cropped_from_the_runs_overviews(tmp_path: Path) -> None:
    """An overview of the final outputs gives the same sheet; those of 73bab81 look otherwise."""
    run = tmp_path / "run"
    shutil.copytree(ROOT / "tests/legacy/runs/legacy-resconv-k8u5scx7", run)
    (table,) = tables_of(collect([str(run)], tmp_path))
    strips = [
        np.concatenate([np.asarray(Image.open(io.BytesIO(p.png[k]))) for k in PICTURE_KINDS], 1)
        for p in table.rows[0].runs[0].examples()
    ]
    Image.fromarray(grid(strips, columns=2)).save(run / "pictures" / "images-000000150.png")
    found = pictures_of(table, Sprites(1e6))
    assert found is not None and found["without"] == 0
    earlier, final = found["rows"][0]["seeds"][0]["steps"]
    assert (earlier["seen"], final["seen"]) == (150, 160)
    assert earlier["sheet"] == final["sheet"]
    assert earlier["l1"] == pytest.approx(final["l1"], abs=0.003)
    none = pictures_of(table, Sprites(0))
    assert none is not None and (none["rows"], none["without"]) == ([], 1), "the file stays small"


def test_figures_show_mean_minimum_maximum_and_the_pareto_front(tmp_path: Path) -> None:
    for number, loss in enumerate((0.05, 0.06, 0.07, 0.08)):
        fake_run(
            tmp_path, f"r{number}", loss, ks="3" if number < 2 else str(1 + 2 * number),
            seed=number % 2, parameters=(9000, 9000, 12000, 1000)[number],
        )  # fmt: skip
    (table,) = tables_of(collect([str(tmp_path)], tmp_path))
    figures = figures_of(table)
    band, *_, best = figures["curves val/l1"]["data"]
    assert (best["uid"], best["y"][-1], best["customdata"][-1]) == ("r0", 0.055, [0.05, 0.06])
    middle = len(best["x"])
    assert (band["uid"], band["y"][middle - 1 : middle + 1]) == ("b0", [0.06, 0.05])
    front, *points = figures["parameters"]["data"]
    assert (front["x"], front["y"]) == ([1000, 9000], [0.08, 0.055])
    assert points[0]["error_y"]["array"] == pytest.approx([0.005])
    assert text("<b>&") == "&lt;b&gt;&amp;" and "importance" not in figures
