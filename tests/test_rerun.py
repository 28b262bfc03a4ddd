"""``rerun``: the same run again, from its folder or from W&B."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import yaml

from inference.rerun import compare
from tests.conftest import TINY, run_folder, summary_of


@pytest.mark.parametrize("now", [float("nan"), float("inf")])
def test_a_metric_that_is_nan_does_not_reproduce(now):
    verdict, worst, _ = compare({"val/l1": 0.1, "val/psnr": 20.0}, {"val/l1": 0.1, "val/psnr": now})
    assert (verdict, worst) == ("do NOT match", math.inf)


def test_a_rerun_reproduces_exactly_and_reports_a_changed_metric(cli):
    folder = run_folder(cli("resconv", *TINY, "--mode", "disabled", "--name", "first"))
    outcome = cli("rerun", folder.name[-8:], "--device", "cpu", "--mode", "disabled")
    assert outcome.code == 0, outcome.err
    assert "the numbers match exactly" in outcome.out
    assert "\nsame code, libraries and device\n" in outcome.out
    again = run_folder(outcome)
    assert again.name.startswith("first-rerun-")
    assert yaml.safe_load((again / "config.yaml").read_text())["rerun_of"] == folder.name[-8:]

    [table] = json.loads(cli("compare", folder, again, "--format", "json").out)
    assert [(row["place"], row["run"]) for row in table["rows"]] == [
        (1, folder.name), (1, again.name),
    ]  # fmt: skip
    assert "precision" not in table["rows"][0], "auto and what auto was are one"

    summary = summary_of(folder)
    value = summary["last"]["val/l1"]
    for factor, code, verdict in (
        (1 + 1e-5, 0, "match within float noise"), (1.1, 1, "do NOT match"),
    ):  # fmt: skip
        summary["last"]["val/l1"] = value * factor
        (folder / "summary.json").write_text(json.dumps(summary))
        outcome = cli("rerun", folder, "--device", "cpu", "--mode", "disabled")
        assert outcome.code == code
        assert f"the numbers {verdict} (largest relative difference" in outcome.out

    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["environment"]["torch"] = "1.0"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    outcome = cli("rerun", folder, "--device", "cpu", "--mode", "disabled")
    assert re.search(r"^differs   torch \S+, was 1\.0$", outcome.out, re.MULTILINE)

    config["dataset"]["checksum"] = "0" * 64
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    before = set(Path("runs").iterdir())
    outcome = cli("rerun", folder)
    assert (outcome.code, set(Path("runs").iterdir())) == (2, before)
    assert "the data are not those of" in outcome.err


def test_a_classifier_trained_on_the_synthetic_fallback_reruns(cli):
    small = ["--images", "16", "--batch-size", "8", "--train-images", "6001", "--val-images", "20"]
    outcome = cli("classify", *small, "--mode", "disabled")
    assert outcome.code == 0, outcome.err
    folder = run_folder(outcome)
    config = yaml.safe_load((folder / "config.yaml").read_text())["dataset"]
    assert (config["name"], config["train"], config["image_channels"]) == ("garments", 6000, 3)
    outcome = cli("rerun", folder, "--device", "cpu", "--mode", "disabled")
    assert outcome.code == 0 and "the numbers match exactly" in outcome.out, outcome.err


def test_a_run_that_is_not_finished_or_nowhere_is_refused(cli):
    diverging = ["--optimizer", "sgd", "--lr", "1e30", "--mode", "disabled"]
    assert cli("resconv", *TINY, *diverging).code == 1
    [folder] = Path("runs").iterdir()
    run = folder.name[-8:]
    outcome = cli("rerun", run)
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert f"{run}: the run is failed (the loss became NaN or infinite at step" in outcome.err
    assert f"continue it with python train.py resconv --resume {run}\n" in outcome.err
    outcome = cli("resconv", "--resume", run)
    assert outcome.code == 1 and f"Resuming {folder} from the start" in outcome.out

    outcome = cli("rerun", "nope")
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert outcome.err.startswith("Error: nope: no such file or folder; give a run folder, ")


def test_a_run_on_the_server_reruns(server, cli):
    run = run_folder(cli("resconv", *TINY, "--mode", "online")).name[-8:]
    outcome = cli("rerun", f"tester/convtune/{run}", "--device", "cpu", "--mode", "disabled")
    assert outcome.code == 0, outcome.err
    assert "the numbers match exactly" in outcome.out
