"""``export`` of trained nets: the files give the net's outputs without this project."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cli.use import export
from common.errors import InputError
from inference.export import ExportedNet
from inference.load import TrainedNet, load_trained, net_of

RUNS = Path(__file__).parent / "legacy" / "runs"
RESCONV, CLASSIFY = RUNS / "legacy-resconv-k8u5scx7", RUNS / "legacy-classify-gblh2r0b"


def run(*arguments: object) -> None:
    export.main([str(argument) for argument in arguments], standalone_mode=False)


@pytest.mark.slow
@pytest.mark.parametrize("source", [RESCONV, CLASSIFY])
def test_a_torch_program_gives_the_nets_outputs_for_any_number_of_images(source, tmp_path) -> None:
    file = tmp_path / "net.pt2"
    run(source, "--to", "torch", file)
    trained = load_trained(source, None, "")
    images = torch.rand(3, trained.channels, *trained.settings.data.height_width)
    inputs = images if source == RESCONV else images * 4 - 2
    with torch.no_grad():
        found = torch.export.load(file).module()(images)
        torch.testing.assert_close(found, trained.net(inputs), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_an_onnx_file_gives_the_nets_outputs(tmp_path) -> None:
    reference = pytest.importorskip("onnx.reference")
    pytest.importorskip("onnxscript")
    file = tmp_path / "net.onnx"
    run(RESCONV, "--to", "onnx", file)
    trained = load_trained(RESCONV, None, "")
    images = torch.rand(3, 1, 28, 28)
    (found,) = reference.ReferenceEvaluator(str(file)).run(None, {"images": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), trained.net(images), atol=1e-5, rtol=0)


def test_an_exported_net_copies_undamaged_pixels_if_trained_on_the_composite() -> None:
    config = {
        "command": "unet", "width": 8, "mask_input": True, "composite": True, "size": 12,
        "dataset": {"image_channels": 1, "classes": ["a"]},
    }  # fmt: skip
    settings, net = net_of(config)
    exported = ExportedNet(TrainedNet(net, settings, config, 1, ("a",)))
    images, mask = torch.rand(2, 1, 12, 12), torch.zeros(2, 1, 12, 12, dtype=torch.bool)
    mask[:, :, :6] = True
    outputs = exported(images, mask)
    assert exported.takes_mask
    assert torch.equal(outputs[~mask], images[~mask])
    alone = net(torch.cat([images, mask.float()], 1))
    torch.testing.assert_close(outputs[mask], alone[mask], atol=1e-5, rtol=0)


def test_a_hub_folder_rebuilds_the_net_and_names_no_path(tmp_path) -> None:
    folder = tmp_path / "hub"
    run(RESCONV, "--to", "hub-folder", folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "examples.png", "model.safetensors",
    ]  # fmt: skip
    _, net = net_of(json.loads((folder / "config.json").read_text()))
    net.load_state_dict(load_file(folder / "model.safetensors"))
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(net(images), load_trained(RESCONV, None, "").net(images))
    card = (folder / "README.md").read_text()
    assert "| `val/l1` | 0.42983 |" in card and "python train.py resconv --layers=2" in card
    assert "/" not in json.loads((folder / "config.json").read_text())["data"]
    with pytest.raises(InputError, match="exists already"):
        run(RESCONV, "--to", "hub-folder", folder)
    with pytest.raises(InputError, match="nothing: not a run folder; give one"):
        run("nothing", "--to", "hub-folder", folder)
    cut = tmp_path / "cut"
    shutil.copytree(RESCONV, cut)
    summary = json.loads((cut / "summary.json").read_text())
    (cut / "summary.json").write_text(json.dumps(summary | {"state": "preempted"}))
    with pytest.raises(InputError, match="the run is preempted, not finished"):
        run(cut, "--to", "hub-folder", tmp_path / "other")


@pytest.mark.parametrize(
    ("form", "missing", "named"),
    [("onnx", "onnxscript", "onnx onnxscript"), ("hub-folder", "safetensors.torch", "safetensors")],
)
def test_a_missing_package_is_reported_by_name(form, missing, named, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "inference.hub_folder", raising=False)
    with pytest.raises(InputError, match=f"is not installed; pip install {named}$"):
        run(RESCONV, "--to", form, tmp_path / "x")
    assert not (tmp_path / "x").exists()
