"""The W&B report's panels, made without a server."""

from __future__ import annotations

import pytest

from reports.online import _run_panels
from reports.table import tables_of
from tests.fake_runs import fake_run
from tracking.record import read_run_folder


@pytest.mark.parametrize(("command", "pictures"), [("unet", 1), ("resconv", 1), ("classify", 0)])
def test_every_restoration_shows_its_demo_pictures(tmp_path, command, pictures) -> None:
    run = read_run_folder(fake_run(tmp_path, "a", 0.1, task=command))
    (table,) = tables_of([run])
    panels = _run_panels(table, "me", "convtune").panels
    assert sum(type(panel).__name__ == "MediaBrowser" for panel in panels) == pictures
