"""Plant each error of edits.json into a copy of the project: its quick tests must fail on it.

``python -m tests.planted [WORD...]`` takes the edits whose names contain a word, or all.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EDITS = json.loads((Path(__file__).parent / "edits.json").read_text())


def caught(edit: dict[str, str], copy: Path) -> str:
    """The assertion that the planted error broke; empty where no test saw it.

    Raises ``SystemExit`` for an edit that no longer applies.
    """
    file = copy / edit["file"]
    text = file.read_text()
    if text.count(edit["old"]) != 1:
        raise SystemExit(f"{edit['name']}: no longer applies to {edit['file']}; mend edits.json")
    file.write_text(text.replace(edit["old"], edit["new"]))
    test, *options = shlex.split(edit["tests"])
    command = [sys.executable, "-m", "pytest", f"tests/{test}", *options, "-x", "--tb=line"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    file.write_text(text)
    lines = [
        line for line in done.stdout.splitlines() if "AssertionError" in line or "assert" in line
    ]
    return lines[0][-150:] if done.returncode == 1 and lines else ""


def main(words: list[str]) -> int:
    chosen = [e for e in EDITS if not words or any(word in e["name"] for word in words)]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs"))
        shutil.copytree(ROOT / "tests" / "legacy", copy / "tests" / "legacy", dirs_exist_ok=True)
        for edit in chosen:
            found = caught(edit, copy)
            missed += not found
            print(f"{'caught' if found else 'MISSED'}  {edit['name']}: {found}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
