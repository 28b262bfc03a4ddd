"""The W&B report's panels, made without a server."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from common.media import Examples, Picture
from reports.comparison import tables_of
from reports.online import panels_of
from reports.workspace import workspace_of
from tests.fake_runs import fake_run
from tracking.record import read_run_folder
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
