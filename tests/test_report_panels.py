"""The W&B report's panels, made without a server."""

from __future__ import annotations

import pytest

from reports.online import _run_panels
from reports.table import tables_of
from reports.workspace import workspace_of
from tests.fake_runs import fake_run
from tracking.record import read_run_folder


@pytest.mark.parametrize(("command", "pictures"), [("unet", 1), ("resconv", 1), ("classify", 0)])
def test_every_restoration_shows_its_demo_pictures(tmp_path, command, pictures) -> None:
    run = read_run_folder(fake_run(tmp_path, "a", 0.1, task=command))
    (table,) = tables_of([run])
    panels = _run_panels(table, "me", "convtune").panels
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
