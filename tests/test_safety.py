"""No way to run what a file holds, no key in what a run leaves, and text files are UTF-8."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sweeps.yaml_file import _Loader
from tests.conftest import ROOT, TINY, run_folder

PACKAGES = sorted({path.parent for path in ROOT.glob("*/__init__.py")} | {ROOT / "benchmarks"})
SOURCES = [ROOT / "train.py", *(p for package in PACKAGES for p in sorted(package.rglob("*.py")))]
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load",
    "pickle.loads", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load",
    "marshal.loads", "subprocess.getoutput", "np.load", "numpy.load", "torch.hub.load",
}  # fmt: skip


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_source_executes_input_as_code_or_shell(path):
    for name, node in calls(path):
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name in ("yaml.load", "yaml.load_all") and keywords.get("Loader") == "_Loader":
            assert issubclass(_Loader, yaml.SafeLoader)
            continue
        assert name not in FORBIDDEN, f"{path}:{node.lineno}: {name}"
        assert keywords.get("shell", "False") == "False", f"{path}:{node.lineno}"
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", f"{path}:{node.lineno}"


def test_every_text_file_is_opened_as_utf8():
    """The locale's encoding may be ASCII."""
    for path in SOURCES:
        for name, node in calls(path):
            keywords = {k.arg for k in node.keywords}
            text = name == "open" and not any(
                isinstance(a, ast.Constant) and "b" in str(a.value) for a in node.args[1:2]
            )
            if text or name.endswith((".read_text", ".write_text")):
                assert "encoding" in keywords, f"{path}:{node.lineno}: {name}"


def test_no_api_key_is_written_or_sent_by_a_run(server, cli, monkeypatch, tmp_path):
    key = "5ec4e7" * 6 + "abcd"
    monkeypatch.setenv("WANDB_API_KEY", key)
    outcome = cli("resconv", *TINY, "--mode", "online")
    assert outcome.code == 0
    assert key not in outcome.out + outcome.err
    folder = run_folder(outcome)
    for path in [p for p in (*folder.rglob("*"), *(tmp_path / "wandb").rglob("*")) if p.is_file()]:
        assert key.encode() not in path.read_bytes(), path
    [run] = server.runs
    sent = repr((run.raw_config, run.summary, run.rows, run.logs)).encode()
    assert key.encode() not in b"".join([sent, *run.files.values()])
