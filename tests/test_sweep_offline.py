"""The offline engine through the real command: killed, stopped, shared, failing, retried."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.storages.journal import JournalFileBackend

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
MINI = """\
# Question: what does a tiny net restore?
name: mini
method: grid
program: train.py
command: ["${env}", "${interpreter}", "${program}", resconv, "${args}"]
metric: {name: val/l1, goal: minimize}
parameters:
  data: {value: garments}
  size: {value: 12}
  train_images: {value: 256}
  val_images: {value: 40}
  images: {value: 256}
  ch: {value: 4}
  layers: {values: [1, 2, 3]}
  ks: {values: [3, 5]}
"""


def write(text: str = MINI, name: str = "mini.yaml") -> Path:
    file = Path(name)
    file.write_text(text)
    return file


class Command:
    """``train.py sweep`` in a process of its own, whose lines can be waited for."""

    def __init__(self, *args: object, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), "sweep", *map(str, args)],
            stdout=subprocess.PIPE, text=True, cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.lines: list[str] = []

    def wait_for(self, text: str) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f"{text!r} never came: {self.lines}")

    def end(self) -> int:
        self.lines += self.process.stdout or ()
        return self.process.wait()

    def workers(self) -> list[int]:
        """The worker processes of this command."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def done_points(journal: Path) -> Counter:
    """How often each point of the study at ``journal`` was done."""
    backend = JournalFileBackend(str(journal.resolve()))
    storage = optuna.storages.JournalStorage(backend)
    (name,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return Counter(trial.user_attrs["point"] for trial in trials if trial.state.name == "COMPLETE")


def finished_runs(runs: Path) -> Counter:
    """How often each point has a finished run folder."""
    points = []
    for file in runs.glob("*/summary.json"):
        if json.loads(file.read_text())["state"] == "finished":
            points.append(yaml.safe_load((file.parent / "config.yaml").read_text())["sweep"])
    assert {(p["name"], p["file"]) for p in points} <= {("mini", "mini.yaml")}
    return Counter(p["point"] for p in points)


def test_killed_halfway_and_started_again_each_point_is_done_exactly_once(cli):
    # Long enough to be killed in the middle, however slow this process is to look.
    file = write(MINI.replace("\n  images: {value: 256}", "\n  images: {value: 2560}"))
    first = Command(file, "--jobs", 2)
    first.wait_for("[1/6]")
    os.kill(first.workers()[0], signal.SIGKILL)
    first.wait_for("killed by SIGKILL")
    first.wait_for("[3/6]")
    workers = first.workers()
    first.process.kill()
    assert first.end() == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers)), "workers must not outlive their sweep"

    status = cli("sweep", file, "--status")
    done = int(re.findall(r"(\d) done, 0 running, 0 failed", status.out)[0])
    assert status.code == 0 and 3 <= done < 6

    again = Command(file)
    assert again.end() == 0
    assert f"mini: {done} of 6 points done" in again.lines[1]
    once = done_points(Path("studies/mini.journal"))
    assert len(once) == 6 and set(once.values()) == {1}
    assert finished_runs(Path("runs")) == once
    assert len(list(Path("runs").iterdir())) == 6, "a killed run goes on in its folder"
    status = cli("sweep", file, "--status").out
    shown = re.findall(r"done +(.*?) +\d\.\d{5} +(\S+) *$", status, re.MULTILINE)
    assert {folder for _, folder in shown} == {str(p) for p in Path("runs").iterdir()}
    assert len(shown) == 6 and shown[-1][0] == "ks=5 layers=3"
    folders = [p for p in Path("runs").iterdir() if p.name.startswith("mini-ks5-layers3-")]
    config = yaml.safe_load((folders[-1] / "config.yaml").read_text())
    assert (config["group"], config["ks"], config["layers"]) == ("mini", 5, 3)
    assert config["environment"]["command"] == (
        "python train.py resconv --layers=3 --ks=5 --ch=4 --data=garments --size=12 "
        "--train-images=256 --val-images=40 --images=2560"
    )
    assert list(folders[-1].glob("wandb/offline-run-*/*.wandb"))


def test_two_commands_in_two_folders_share_one_journal(tmp_path):
    commands = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "mini.yaml").write_text(MINI)
        study = tmp_path / "shared" / "mini.journal"
        args = ("mini.yaml", "--study", study, "--mode", "disabled")
        commands.append(Command(*args, cwd=folder))
    assert [command.end() for command in commands] == [0, 0]
    once = done_points(study)
    assert len(once) == 6 and set(once.values()) == {1}
    runs = finished_runs(tmp_path / "one" / "runs") + finished_runs(tmp_path / "two" / "runs")
    assert runs == once
    said = [re.findall(r"^\[(\d)/6\]", "".join(c.lines), re.MULTILINE) for c in commands]
    assert all(counts == sorted(set(counts)) for counts in said)
    assert sum(map(len, said)) == 6 and max(max(counts) for counts in said if counts) == "6"


def test_ctrl_c_twice_stops_now_once_finishes_the_runs_in_hand():
    file = write(
        MINI.replace("[1, 2, 3]", "[1, 2]").replace(
            "images: {value: 256}\n  ch", "images: {value: 32768}\n  ch"
        )
    )
    hasty = Command(file, "--mode", "disabled")
    hasty.wait_for("0 of 4 points done")
    journal = Path("studies/mini.journal")
    while '"owner"' not in journal.read_text():
        time.sleep(0.05)
    hasty.process.send_signal(signal.SIGINT)
    hasty.wait_for("Ctrl-C again")
    hasty.process.send_signal(signal.SIGINT)
    assert hasty.end() == 130
    assert not done_points(journal)

    calm = Command(file, "--mode", "disabled")
    calm.wait_for("[1/4]")
    while journal.read_text().count('"owner"') < 3:
        time.sleep(0.05)
    calm.process.send_signal(signal.SIGINT)
    assert calm.end() == 130
    once = done_points(journal)
    assert len(once) == 2 and set(once.values()) == {1} and finished_runs(Path("runs")) == once


def test_a_failing_point_takes_only_itself_down_and_is_retried_when_asked(cli):
    text = MINI.replace("[1, 2, 3]", "[1]").replace("[3, 5]", "[3]")
    file = write(text + "  lr: {values: [0.001, 1.0e+30]}\n")
    for options, trained in (([], 1), ([], 0), (["--retry-failed"], 1)):
        outcome = cli("sweep", file, "--mode", "disabled", *options)
        assert outcome.code == 1, outcome
        shown, _, counts = outcome.out.partition("2 points: ")
        assert counts.startswith("1 done, 0 running, 1 failed, 0 missing")
        assert len(re.findall(r"failed: lr=1e\+30: .*NaN", shown)) == trained
        assert ("[1/2] lr=0.001" in shown) == (trained and not options)
    assert re.search(r"failed +lr=1e\+30", cli("sweep", file, "--status").out)
    assert len(list(Path("runs").iterdir())) == 2


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


def test_a_name_is_made_a_file_name_and_a_look_makes_no_file(cli, monkeypatch):
    home = Path("a/b/c").resolve()
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    one_point = MINI.replace("[1, 2, 3]", "[1]").replace("[3, 5]", "[3]")
    evil = write(one_point.replace("name: mini", 'name: "../../evil"'))
    plain = write(one_point.replace("name: mini", "name: evil"), "plain.yaml")
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


def test_gpus_are_those_that_are_there_and_workers_are_spread_over_them(monkeypatch):
    import torch

    from common.errors import InputError
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
