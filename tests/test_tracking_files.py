"""Files that a user named, file names that no text can hold, and JSON that every reader takes."""

from __future__ import annotations

import json
import math
import os
import stat
import threading
from pathlib import Path

import pytest
from PIL import Image

from common.files import json_text, write_output
from tests.conftest import TINY, run_folder


def test_writing_through_a_link_keeps_the_link(tmp_path):
    target, link, dangling = tmp_path / "real.txt", tmp_path / "link.txt", tmp_path / "later.txt"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target.name)
    dangling.symlink_to("made.txt")
    write_output(link, "new é")
    write_output(dangling, "made")
    assert link.is_symlink() and target.read_text(encoding="utf-8") == "new é"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert dangling.is_symlink() and (tmp_path / "made.txt").read_text() == "made"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ("real.txt", "link.txt", "later.txt", "made.txt")
    )


def test_writing_into_a_pipe_keeps_the_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    write_output(link, "content")
    reader.join(10)
    assert found == ["content"] and stat.S_ISFIFO(pipe.stat().st_mode) and link.is_symlink()


def test_out_of_compare_and_predict_and_restore_goes_through_links(cli, tmp_path):
    """The commands that write user-named files use ``write_output``."""
    folder = run_folder(cli("resconv", *TINY, "--mode", "disabled"))
    for command, name in (
        (["compare", folder, "--format", "csv", "--out"], "table.csv"),
        (["report", folder, "--html"], "page.html"),
    ):
        target = tmp_path / f"target-{name}"
        target.write_text("old")
        (tmp_path / name).symlink_to(target)
        outcome = cli(*command, tmp_path / name)
        assert outcome.code == 0, outcome
        assert (tmp_path / name).is_symlink() and target.read_text(encoding="utf-8") != "old"
    picture = next((folder / "pictures" / "demo").glob("*-target.png"))
    target, link = tmp_path / "real.png", tmp_path / "out" / f"{picture.stem}-restored.png"
    target.touch()
    link.parent.mkdir()
    link.symlink_to(target)
    assert cli("restore", folder, picture, "--out", link.parent).code == 0
    assert link.is_symlink() and target.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("form", ["--runs-dir=~/own", "--runs-dir ~/own"])
def test_a_tilde_expands_to_home_in_every_path_option(cli, form):
    outcome = cli("resconv", *TINY, "--mode", "disabled", *form.split())
    assert outcome.code == 0 and len(list((Path.home() / "own").iterdir())) == 1
    assert cli("compare", "--out=~/table.csv", Path.home() / "own").code == 0
    assert (Path.home() / "table.csv").is_file() and not Path("~").exists()


def test_json_holds_no_nan_and_no_infinity():
    value = {"psnr": math.inf, "rows": [(1.5, math.nan)], "name": "é"}
    assert json.loads(json_text(value)) == {"psnr": None, "rows": [[1.5, None]], "name": "é"}


def test_names_that_cannot_be_encoded_do_not_end_a_run(shell, tmp_path):
    """Class folders of lone bytes and a CJK run name, where files and terminal know ASCII only."""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    locale["PYTHONIOENCODING"] = "ascii:strict"
    images = tmp_path / "images"
    for name, shade in ((b"cat\xe9", 40), ("猫".encode(), 200)):
        folder = os.fsencode(images) + b"/" + name
        os.makedirs(folder)
        for number in range(12):
            Image.new("L", (12, 12), shade + number).save(os.fsdecode(folder) + f"/{number}.png")
    options = ["--size", 12, "--epochs", 1, "--batch-size", 4, "--device", "cpu"]
    outcome = shell(
        "classify", "--data", images, *options, "--mode", "offline", "--name", "猫", **locale
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert "W&B failed" not in outcome.out + outcome.err
    [folder] = Path("runs").iterdir()
    for path in [*folder.glob("*.*"), *folder.glob("tables/*")]:
        path.read_text(encoding="utf-8")
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    compared = shell("compare", "runs", "--format", "json", "--out", "table.json", **locale)
    assert compared.code == 0, compared
