"""What is handed to W&B stays within what its client accepts."""

from __future__ import annotations

import pytest
import wandb

from tests.test_data_folder import fill
from tracking.values import add_files_by_reference


@pytest.mark.parametrize("target", ["loop.png", "nothing.png"])
def test_a_data_set_with_dangling_links_is_described_in_text(tmp_path, target):
    root = fill(tmp_path / "photos", count=3)
    artifact = wandb.Artifact("photos", type="dataset")
    assert add_files_by_reference(artifact, {"source": str(root)})
    assert len(artifact.manifest.entries) == 6
    (root / "cat" / "loop.png").symlink_to(target)
    artifact = wandb.Artifact("photos", type="dataset")
    assert not add_files_by_reference(artifact, {"source": str(root)})
    assert not artifact.manifest.entries, "the caller describes the data set in a text instead"
