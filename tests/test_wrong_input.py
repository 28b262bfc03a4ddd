"""A table of wrong input: one line on stderr, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from experiment import checkpoints as checkpoint
from tests.conftest import ROOT

SMALL = "--data garments --train-images 64 --val-images 8 --size 12 --layers 2 --ch 4"
CLASSIFIER = next(ROOT.glob("tests/legacy/runs/legacy-classify-*"))
SWEEP = (ROOT / "sweep_configs" / "smoke.yaml").read_text()
SWEEPS = {
    "no-method": SWEEP.replace("method: grid", ""),
    "bad-method": SWEEP.replace("method: grid", "method: gird"),
    "bad-metric": SWEEP.replace("name: val/l1,", "name: val/l7,"),
    "bad-option": SWEEP.replace("layers:", "layerz:"),
    "bad-value": SWEEP.replace("values: [3, 5]", "values: [3, 4]"),
    "bad-command": SWEEP.replace("resconv, ", "rescom, "),
    "endless": SWEEP.replace("values: [3, 5]", "min: 0.1, max: 0.9"),
    "text-numbers": SWEEP.replace("method: grid", "method: random\nrun_cap: 2").replace(
        "values: [3, 5]", "min: 1e-3, max: 1e-1"
    ),
    "not-yaml": "method: [grid",
    "code": "method: !!python/object/apply:os.system ['touch pwned']",
    "empty": "",
    "a-list": "- grid\n- val/l1",
}


class Evil:
    """Unpickled, it would leave a file."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("pwned"),)


@pytest.fixture
def here() -> None:
    """A working folder full of files that are not what they should be."""
    Image.fromarray(np.zeros((16, 16), dtype=np.uint8)).save("photo.png")
    whole = Path("photo.png").read_bytes()
    Path("broken.png").write_bytes(whole[:40])
    size = struct.pack(">II", 100_000, 100_000) + whole[24:29]
    header = b"IHDR" + size
    Path("huge.png").write_bytes(
        whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]
    )
    for name in ("empty", "texts", "labels", "one-class/a", "two-classes/a", "two-classes/b"):
        Path(name).mkdir(parents=True)
    for n in range(4):
        Image.effect_noise((16, 16), 60).save(f"one-class/a/{n}.png")
        Image.effect_noise((16, 16), 60).save(f"two-classes/a/{n}.png")
    Path("texts/notes.txt").write_text("no image")
    Path("a-file").write_text("a file")
    for name in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            with gzip.open(f"labels/{name}-{kind}-ubyte.gz", "wb") as file:
                file.write(b"\0\0\x08\x03 not an IDX file")
    torch.save({"weights": torch.zeros(2)}, "foreign.pt")
    torch.save(Evil(), "evil.pt")
    Path("truncated.pt").write_bytes(Path("foreign.pt").read_bytes()[:200])
    data = {"classes": ["a", "b"], "image_channels": 1, "checksum": "0"}
    for task in ("resconv", "classify"):
        config = {"task": task, "run_id": "abc", "dataset": data}
        checkpoint.save(Path(f"{task}.pt"), {"config": config, "model": {}})
    for name, state in (("done-aaaaaaa1", "finished"), ("cut-aaaaaaa2", "running")):
        config = {"task": "resconv", "run_id": name[-8:], "run_name": "x", "dataset": data}
        folder = Path("old") / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        summary = {"state": state, "last": {}, "run_id": name[-8:]}
        (folder / "summary.json").write_text(json.dumps(summary))
    Path("old/broken-aaaaaaa3").mkdir()
    Path("old/broken-aaaaaaa3/config.yaml").write_text("task: [")
    for name, text in SWEEPS.items():
        Path(f"{name}.yaml").write_text(text)


LINES = [
    # no or wrong commands
    ("rescon", "Did you mean 'resconv'?"),
    ("--version", "No such option"),
    # options of the training commands
    ("resconv --layers 0", "from 1 to 200"),
    ("convnext --kernel 1 --conv select --rank 2", "--rank 2: must be at most 1"),
    ("bench conv --rank 10", "1<=x<=9"),
    ("resconv --layers 2.5", "whole number"),
    ("resconv --layers", "requires an argument"),
    ("resconv extra", "unexpected extra argument"),
    ("resconv --ks 4", "must be odd"),
    ("resconv --ks 3:", "3:9"),
    ("resconv --ks 9:x", "3:9"),
    ("resconv --ks 3,5", "2 values for 11 layers"),
    ("resconv --ch 0", "--ch"),
    ("resconv --ch -4", "--ch"),
    ("resconv --act gleu", "Did you mean 'gelu'?"),
    ("resconv --groups 5", "must divide"),
    ("resconv --conv select --rank 99", "--rank 99"),
    ("resconv --rank 3", "--conv select --rank 3"),
    ("classify --cutout 32", "below the image size (32 pixels), for example --cutout 4"),
    ("classify --shift 28 --size 28", "--shift 28: must be below"),
    ("resconv --conv select --groups 4", "not grouped"),
    ("resconv --bn-encoder 7", "must be one of"),
    ("resconv --bn-last=perhaps", "True or False"),
    ("resconv --padding 5", "below every kernel size"),
    ("resconv --stride 9", "from 1 to 8"),
    ("resconv --stride 2 --padding 0", "nothing is left after layer"),
    ("resconv --size 5", "from 11 to 1024"),
    ("resconv --size 28by28", "HEIGHTxWIDTH"),
    ("resconv --residual-weight nan", "must be a number"),
    ("resconv --lr 0", "above 0"),
    ("resconv --lr inf", "must be a number"),
    ("resconv --lr fast", "must be a number"),
    ("resconv --weight-decay -1", "at least 0"),
    ("resconv --optimizer adamwt", "Did you mean 'adamw'?"),
    ("resconv --scheduler step", "must be one of"),
    ("resconv --loss huber", "must be one of"),
    ("resconv --epochs 0", "from 1 up"),
    ("resconv --images 10", "--batch-size 64"),
    ("resconv --batch-size many", "whole number"),
    (f"resconv {SMALL} --batch-size 100000", "less than one batch"),
    ("resconv --seed -1", "from 0"),
    ("resconv --seed 99999999999", "from 0"),
    ("resconv --train-images 1", "from 2 up"),
    ("resconv --val-images 0", "from 1 up"),
    ("resconv --log-every 0", "from 1 up"),
    ("resconv --checkpoint-every often", "images (20000) or of minutes (10m)"),
    ("resconv --layerz 3", "--layers"),
    ("resconv --device tpu", "must be auto, cpu, cuda"),
    ("resconv --device cuda:77", "usable CUDA device"),
    ("resconv --device cuda:200", "must be auto, cpu, cuda"),
    ("resconv --device cuda:01", "must be auto, cpu, cuda"),
    ("resconv --size " + 5000 * "9", "HEIGHTxWIDTH"),
    ("resconv --checkpoint-every " + 5000 * "9", "or of minutes (10m)"),
    ("resconv --precision fp8", "must be one of"),
    ("resconv --mode sometimes", "must be one of"),
    (f"resconv {SMALL} --mode online", "--mode online: no W&B API key found; run wandb login"),
    (f"resconv {SMALL} --project a/b", "--project a/b"),
    (f"resconv {SMALL} --tags " + 70 * "t", "at most 64 characters"),
    (f"resconv {SMALL} --runs-dir a-file", "cannot make resconv-l2"),
    (f"resconv {SMALL} --runs-dir /proc/none", "cannot make resconv-l2"),
    ("classify --model resnet81", "Did you mean 'resnet18'?"),
    ("classify --data garments --model alexnet --size 32", "cannot take 3x32x32 images"),
    ("classify --conv selct", "Did you mean 'select'?"),
    ("classify --cutot 4", "--cutot"),
    ("classify --data garments --rank 10", "--rank 10: must be from 1 to 9"),
    ("classify --dropout 1.5", "at most 0.95"),
    ("classify --rank 0", "from 1 up"),
    ("classify --cutout -1", "from 0 to 512"),
    ("classify --data garments --label-smoothing 2", "at most 0.9"),
    # data
    ("resconv --data fashion-mnits", "fashion-mnist"),
    ("resconv --data no-such-folder", "no-such-folder"),
    ("resconv --data empty", "no readable images"),
    ("resconv --data texts", "no readable images"),
    ("resconv --data a-file", "a-file"),
    ("classify --data one-class", "one class only"),
    ("classify --data two-classes", "class 'b' has no training images"),
    ("resconv --data fashion-mnist --data-root labels", "labels"),
    ("resconv --data fashion-mnist --data-root ~nobody-of-this-name/x", "is not a folder"),
    # resuming
    ("resconv --resume nothere1", "no such run"),
    ("resconv --resume old/done-aaaaaaa1", "the run is finished"),
    ("resconv --resume aaaaaaa3 --runs-dir old", "cannot be read"),
    ("classify --resume old/cut-aaaaaaa2", "a run of resconv, not of classify"),
    # sweeps
    ("sweep", "give a sweep file"),
    ("sweep nowhere.yaml", "nowhere.yaml"),
    ("sweep no-method.yaml", "method is missing"),
    ("sweep bad-method.yaml", "Did you mean 'grid'?"),
    ("sweep bad-metric.yaml", "never logged"),
    ("sweep bad-option.yaml", "layers"),
    ("sweep bad-value.yaml", "must be odd"),
    ("sweep bad-command.yaml", "Did you mean 'resconv'?"),
    ("sweep endless.yaml", "never ends"),
    ("sweep text-numbers.yaml", "write 0.001, not 1e-3"),
    ("sweep not-yaml.yaml", "not-yaml.yaml"),
    ("sweep code.yaml", "code.yaml"),
    ("sweep empty.yaml", "empty.yaml"),
    ("sweep a-list.yaml", "a-list.yaml"),
    (f"sweep {ROOT}/sweep_configs/smoke.yaml --jobs 0", "--jobs"),
    (f"sweep {ROOT}/sweep_configs/smoke.yaml --gpus 0", "--gpus 0"),
    (f"sweep {ROOT}/sweep_configs/smoke.yaml --study sqlite:///x.db", "SQLite"),
    # reports
    ("compare", "SOURCE"),
    ("compare empty", "no runs there"),
    ("compare old --format pdf", "must be one of"),
    ("compare nowhere.yaml", "nowhere.yaml"),
    ("report empty --html page.html", "no runs there"),
    # trained nets
    ("restore", "CHECKPOINT"),
    ("restore resconv.pt", "no image given"),
    ("restore nothere.pt photo.png", "no such checkpoint"),
    ("restore foreign.pt photo.png", "not a checkpoint of this project"),
    ("restore truncated.pt photo.png", "not a whole checkpoint"),
    ("restore evil.pt photo.png", "not a checkpoint of this project"),
    ("restore photo.png photo.png", "not a whole checkpoint"),
    ("restore classify.pt photo.png", "python train.py predict"),
    ("restore resconv.pt photo.png", "its weights do not fit"),
    ("restore resconv.pt photo.png --erase middle", "must be one of"),
    ("restore resconv.pt nothere.png", "no such file"),
    ("restore resconv.pt photo.png --out restored.png", "names a folder for the results"),
    ("predict foreign.pt texts", "not a checkpoint of this project"),
    ("predict evil.pt texts", "not a checkpoint of this project"),
    ("predict resconv.pt texts", "not of classification"),
    ("predict classify.pt texts", "its weights do not fit"),
    (f"predict {CLASSIFIER} empty", "holds no readable images"),
    (f"predict {CLASSIFIER} nowhere", "is not a folder"),
    (f"predict {CLASSIFIER} ~nobody-of-this-name/x", "is not a folder"),
    ("rerun nothere1", "no W&B API key"),
    ("rerun old/nothere", "no W&B API key"),
    ("rerun old/cut-aaaaaaa2", "not finished"),
    ("bench conv --epochs 0", "--epochs"),
    ("bench conv --mode disabled --out a-file/x", "cannot be written (Not a directory)"),
]
BROKEN_IMAGES = ["broken.png", "huge.png", "a-file", "texts"]
ENVIRONMENTS = [
    ({"WANDB_MODE": "sometimes"}, "WANDB_MODE=sometimes"),
    ({"WANDB_MODE": "online"}, "WANDB_MODE=online: no W&B API key found"),
    ({"WANDB_PROJECT": "a:b"}, "WANDB_PROJECT=a:b: Invalid project name"),
    ({"WANDB_RUN_ID": "../../out"}, "WANDB_RUN_ID=../../out"),
    ({"RANK": "0", "WORLD_SIZE": "99", "MASTER_ADDR": "localhost"}, "each of the 99 processes"),
]


def assert_refused(outcome, hint: str, before: set[Path]) -> None:
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("Error: "), outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert hint in outcome.err
    assert "Traceback" not in outcome.out + outcome.err
    assert set(Path().rglob("*")) == before


@pytest.mark.parametrize(("line", "hint"), LINES, ids=[line[:60] for line, _ in LINES])
def test_a_wrong_line(line, hint, here, cli):
    before = set(Path().rglob("*"))
    assert_refused(cli(*line.split()), hint, before)


@pytest.mark.parametrize("name", BROKEN_IMAGES)
def test_a_wrong_image(name, here, cli, monkeypatch):
    from models.resconv import ResConv

    monkeypatch.setattr(ResConv, "load_state_dict", lambda self, state: None)
    before = set(Path().rglob("*"))
    assert_refused(cli("restore", "resconv.pt", name), name, before)


@pytest.mark.parametrize(("variables", "hint"), ENVIRONMENTS)
def test_a_wrong_environment(variables, hint, here, cli, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = set(Path().rglob("*"))
    assert_refused(cli("resconv", *SMALL.split()), hint, before)


def test_the_table_has_at_least_100_inputs():
    assert len(LINES) + len(BROKEN_IMAGES) + len(ENVIRONMENTS) > 100
