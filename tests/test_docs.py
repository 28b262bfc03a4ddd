"""The documents agree with the code: help, metrics, README's Python, the direction of imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from models.registry import NETS
from tasks.metrics import OF_TASK
from tests.conftest import ROOT
from tests.help import FILE, every_help

# Each package may import itself and those in its set.
LOWEST = {"common"}
LEVELS = {
    "common": set(),
    "data": LOWEST,
    "models": LOWEST,
    "tasks": {"data", "models"} | LOWEST,
    "training": {"tasks", "data", "models"} | LOWEST,
    "tracking": {"tasks", "data", "models"} | LOWEST,
}
LEVELS["experiment"] = {"training", "tracking", *LEVELS["training"]}
LEVELS["sweeps"] = {"experiment", *LEVELS["experiment"]}
LEVELS["benchmarks"] = {"sweeps", *LEVELS["sweeps"]}
LEVELS["reports"] = {"sweeps", *LEVELS["sweeps"]}
LEVELS["inference"] = {"reports", *LEVELS["reports"]}
LEVELS["cli"] = {"inference", "benchmarks", *LEVELS["inference"]}


def imports_of(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


def test_every_package_has_a_level():
    assert {path.parent.name for path in ROOT.glob("[a-z]*/*.py")} == {*LEVELS, "tests"}


@pytest.mark.parametrize("package", LEVELS)
def test_imports_run_one_way(package):
    for file in (ROOT / package).rglob("*.py"):
        upward = (imports_of(file) & {*LEVELS, "tests"}) - LEVELS[package] - {package}
        assert not upward, f"{file.relative_to(ROOT)} imports {upward}"


def test_every_help_is_the_committed_one():
    assert every_help() == FILE.read_text(encoding="utf-8"), "run python -m tests.help and look"


def test_every_test_named_in_a_document_exists():
    text = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    source = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("tests/test_*.py")}
    file, named = "", 0
    for name, test in re.findall(r"(test_\w+\.py)|::(test_\w+…?)", text):
        file = name or file  # "…::test_x" is a test of the file named before
        if test:
            named += 1
            end = "" if test.endswith("…") else r"\("
            assert re.search(rf"^def {test.rstrip('…')}{end}", source[file], re.M), (file, test)
    assert named > 40


def test_every_metric_is_documented_with_its_direction():
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\S+)` \| (\S*) \|", text, re.MULTILINE))
    arrows = {"minimize": "lower", "maximize": "higher"}
    for task, metrics in OF_TASK.items():
        for split in ("val",) if task == "restoration" else ("val", "test"):
            for metric in metrics:
                assert rows[f"{split}/{metric.name}"] == arrows[metric.goal]


def test_the_python_of_the_readme_runs(monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    legacy = ROOT / "tests" / "legacy" / "runs"
    for name, kind in (("RESTORATION", "resconv"), ("CLASSIFICATION", "classify")):
        [folder] = legacy.glob(f"legacy-{kind}-*")
        code = code.replace(f"runs/{name}", str(folder))
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["classifier"].class_names
    assert len(names["net"].kernels) == 11


def test_the_readme_names_every_net_and_only_files_that_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in NETS if name not in text] == []
    files = re.findall(r"\]\((?!https?:)([^)#]+)\)|(sweep_configs/[\w.-]+\.yaml)", text)
    assert [a or b for a, b in files if not (ROOT / (a or b)).exists()] == []
    assert len(text.splitlines()) <= 150
