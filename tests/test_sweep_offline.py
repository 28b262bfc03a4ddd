"""The offline engine through the real command: killed, stopped, shared, failing, retried."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState

from common.errors import InputError
from sweeps.owner import claim_of
from sweeps.study import Study
from sweeps.sweep_file import read_sweep
from tests.small_sweeps import (
    JOURNAL,
    MINI,
    ONE_POINT,
    Command,
    alive,
    assert_each_point_once,
    children,
    done_points,
    finished_runs,
    shared_study,
    wait_until,
    write,
)

pytestmark = pytest.mark.slow


def youngest_worker(file: Path) -> int:
    """The worker that began its point last: not one that is recording how its run ended."""
    study = Study("studies/mini.journal", read_sweep(file))
    claims: list[dict[str, Any]] = []

    def found() -> bool:
        running = map(claim_of, study.in_state(TrialState.RUNNING))
        claims[:] = sorted(filter(None, running), key=lambda claim: claim["time"])
        return bool(claims)

    wait_until(found)
    return claims[-1]["owner"]["pid"]


def test_a_killed_and_restarted_sweep_does_each_point_exactly_once(cli):
    Path("models").mkdir()
    Path("models/__init__.py").touch()  # of the user; workers must import the project's
    # Long enough to be killed in the middle, however slow this process is to look.
    file = write(MINI.replace("\n  images: {value: 256}", "\n  images: {value: 2560}"))
    first = Command(file, "--jobs", 2)
    first.wait_for("[2/6]")
    os.kill(youngest_worker(file), signal.SIGKILL)
    first.wait_for("killed by SIGKILL")
    first.wait_for("[3/6]")
    workers = children(first.process.pid)
    first.process.kill()
    assert first.end() == -signal.SIGKILL
    wait_until(lambda: not any(map(alive, workers)), 10)  # they must not outlive their sweep

    status = cli("sweep", file, "--status")
    done = int(re.findall(r"(\d) done, 0 running, 0 failed", status.out)[0])
    assert status.code == 0 and 3 <= done < 6

    again = Command(file)
    assert again.end() == 0
    assert f"mini: {done} of 6 points done" in again.lines[1]
    once = done_points()
    assert len(once) == 6 and set(once.values()) == {1}
    assert finished_runs(Path("runs")) == once
    assert len(list(Path("runs").glob("[!.]*"))) == 6, "a killed run goes on in its folder"
    status = cli("sweep", file, "--status").out
    shown = re.findall(r"done +(.*?) +\d\.\d{5} +(\S+) *$", status, re.MULTILINE)
    assert {folder for _, folder in shown} == {str(p) for p in Path("runs").glob("[!.]*")}
    assert len(shown) == 6 and shown[-1][0] == "ks=5 layers=3"
    folders = [p for p in Path("runs").glob("[!.]*") if p.name.startswith("mini-ks5-layers3-")]
    config = yaml.safe_load((folders[-1] / "config.yaml").read_text())
    assert (config["group"], config["ks"], config["layers"]) == ("mini", 5, 3)
    assert config["environment"]["command"] == (
        "python train.py resconv --layers=3 --ks=5 --ch=4 --data=garments --size=12 "
        "--train-images=256 --val-images=40 --images=2560"
    )
    assert list(folders[-1].glob("wandb/offline-run-*/*.wandb"))


def test_two_commands_in_two_folders_share_one_journal(tmp_path):
    study = tmp_path / "mini.journal"
    folders = [tmp_path / "one", tmp_path / "two"]
    commands = shared_study(folders, study)
    assert_each_point_once(commands, folders, study)
    said = [re.findall(r"^\[(\d)/6\]", "".join(c.lines), re.MULTILINE) for c in commands]
    assert all(counts == sorted(set(counts)) for counts in said)
    assert sum(map(len, said)) == 6 and max(max(counts) for counts in said if counts) == "6"


def test_one_ctrl_c_finishes_the_current_runs_and_a_second_stops_them():
    longer = MINI.replace("\n  images: {value: 256}", "\n  images: {value: 32768}")
    file = write(longer.replace("[1, 2, 3]", "[1, 2]"))
    hasty = Command(file, "--mode", "disabled")
    hasty.wait_for("0 of 4 points done")
    wait_until(lambda: '"owner"' in Path(JOURNAL).read_text())
    hasty.process.send_signal(signal.SIGINT)
    hasty.wait_for("Ctrl-C again")
    hasty.process.send_signal(signal.SIGINT)
    assert hasty.end() == 130
    assert not done_points()

    calm = Command(file, "--mode", "disabled")
    calm.wait_for("[1/4]")
    wait_until(lambda: Path(JOURNAL).read_text().count('"owner"') >= 3)
    calm.process.send_signal(signal.SIGINT)
    assert calm.end() == 130
    once = done_points()
    assert len(once) == 2 and set(once.values()) == {1} and finished_runs(Path("runs")) == once


def test_a_failing_point_stops_no_other_and_is_retried_on_request(cli):
    file = write(ONE_POINT + "  lr: {values: [0.001, 1.0e+30]}\n")
    for options, trained in (([], 1), ([], 0), (["--retry-failed"], 1)):
        outcome = cli("sweep", file, "--mode", "disabled", *options)
        assert outcome.code == 1, outcome
        shown, _, counts = outcome.out.partition("2 points: ")
        assert counts.startswith("1 done, 0 running, 1 failed, 0 missing")
        assert len(re.findall(r"failed: lr=1e\+30: .*NaN", shown)) == trained
        assert ("[1/2] lr=0.001" in shown) == (trained and not options)
    assert re.search(r"failed +lr=1e\+30", cli("sweep", file, "--status").out)
    assert len(list(Path("runs").glob("[!.]*"))) == 2


def test_bayes_with_hyperband_stops_bad_runs_early_and_no_library_warns(shell):
    """The last validation follows an epoch's end here: Optuna warned that it was reported."""
    text = MINI.replace("method: grid", "method: bayes\nrun_cap: 4").replace(
        "layers: {values: [1, 2, 3]}",
        "lr: {distribution: log_uniform_values, min: 1.0e-9, max: 0.01}",
    )
    text = text.replace("images: {value: 256}\n  ch", "images: {value: 1024}\n  ch")
    file = write(text + "early_terminate: {type: hyperband, min_iter: 1, eta: 2}\n")
    outcome = shell("sweep", file, "--mode", "disabled")
    assert outcome.code == 0 and outcome.err == "", outcome
    states = [json.loads(p.read_text())["state"] for p in Path("runs").glob("*/summary.json")]
    assert set(states) <= {"finished", "stopped"} and len(states) == 4
    early = states.count("stopped")
    assert f"4 points: {4 - early} done" in outcome.out
    assert outcome.out.count(", stopped early") == early
    shown = outcome.out + "".join(p.read_text() for p in Path("studies").glob("*-logs/*.log"))
    assert "arning" not in shown and "already" not in shown


def test_a_study_name_becomes_a_file_name_and_reading_creates_no_file(cli, monkeypatch):
    home = Path("a/b/c").resolve()
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    evil = write(ONE_POINT.replace("name: mini", 'name: "../../evil"'))
    plain = write(ONE_POINT.replace("name: mini", "name: evil"), "plain.yaml")
    before = set(home.parent.parent.rglob("*"))
    for place in ([], ["--study", "new/s.journal"]):
        status = cli("sweep", evil, "--status", *place)
        assert status.code == 0 and "1 points: 0 done, 0 running, 0 failed, 1 mis" in status.out
    assert set(home.parent.parent.rglob("*")) == before

    assert cli("sweep", evil, "--mode", "disabled").code == 0
    new = {p.relative_to(home) for p in set(home.parent.parent.rglob("*")) - before}
    assert {p.parts[0] for p in new} == {"studies", "runs"}
    [journal] = [p for p in new if p.suffix == ".journal"]
    assert re.fullmatch(r"studies/evil-[0-9a-f]{8}\.journal", str(journal))
    assert Path(f"{journal.with_suffix('')}-logs") in new
    assert "0 done" in cli("sweep", plain, "--status").out
    assert "1 done" in cli("sweep", evil, "--status").out


def test_available_gpus_are_found_and_workers_spread_over_them(monkeypatch):
    import torch

    from sweeps import children as processes

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert processes.gpu_list(None) == [] and processes.gpu_list("all") == ["0", "1"]
    with pytest.raises(InputError, match="found here: 0, 1"):
        processes.gpu_list("0,2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert processes.gpu_list("all") == ["3", "5"] and processes.gpu_list("5") == ["5"]

    seen = []
    real = subprocess.Popen

    def recorded(command, env, **options):
        seen.append((env["CUDA_VISIBLE_DEVICES"], env["OMP_NUM_THREADS"]))
        return real([sys.executable, "-c", "input()"], env=env, **options)

    monkeypatch.setattr(processes.subprocess, "Popen", recorded)
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda pid: set(range(12)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    children = processes.Children(3, ["3", "5"], Path("logs"))
    for _ in range(3):
        children.start(processes.Command(["-m", "sweeps.worker"], line=""))
    assert seen == [("3", "4"), ("5", "4"), ("3", "4")]
    for child in children.all:
        child.kill()
    assert len(children.collect()) == 3 and not children.all
