"""Plant each error of edits.json into a copy of the project: its tests must fail on it.

``python -m tests.planted [WORD...]`` takes the edits whose names contain a word, or all. An error
counts as caught where the first test that fails, of the quick ones in ``QUICK`` (or, for an edit
marked slow, of the file named there), fails by an assertion.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EDITS = json.loads((Path(__file__).parent / "edits.json").read_text(encoding="utf-8"))
NAMES = ("referee", "referee_figures", "state", "data_batches", "golden_step")
QUICK = ["-m", "quick", *(f"tests/test_{name}.py" for name in NAMES)]


def caught(edit: dict[str, str], copy: Path) -> str:
    """The test that failed by an assertion; empty where none did.

    Raises ``SystemExit`` for an edit that no longer applies.
    """
    file = copy / edit["file"]
    text = file.read_text(encoding="utf-8")
    if text.count(edit["old"]) != 1:
        raise SystemExit(f"{edit['name']}: no longer applies to {edit['file']}; mend edits.json")
    file.write_text(text.replace(edit["old"], edit["new"]), encoding="utf-8")
    output = failures([edit["slow"]] if "slow" in edit else QUICK, copy)
    file.write_text(text, encoding="utf-8")
    found = re.search(r"^FAILED tests/(\S+?)(\[.*\])? - (AssertionError|assert )", output, re.M)
    if output and not found:
        print(output)
    return found[1] if found else ""


def failures(tests: list[str], copy: Path) -> str:
    """The end of pytest's output up to the first failure; empty where all tests pass."""
    options = ["-n", "0", "-o", "addopts=", "-q", "-x", "--tb=no", "-rfE"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy, capture_output=True, text=True,
        env=os.environ | {"TEST_TIME_FACTOR": "100", "COLUMNS": "300"},
    )  # fmt: skip
    return "\n".join(done.stdout.splitlines()[-3:]) if done.returncode else ""


def main(words: list[str]) -> int:
    chosen = [e for e in EDITS if not words or any(word in e["name"] for word in words)]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs-*"))
        if found := failures(QUICK, copy):
            raise SystemExit(f"the tests fail already without an error planted:\n{found}")
        for edit in chosen:
            found = caught(edit, copy)
            missed += not found
            kind = "slow" if "slow" in edit else "quick"
            print(f"| {edit['name']} | {found or 'MISSED'} | {kind} |", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
