"""``--precision auto`` tries both arithmetics on the net and takes the one that serves."""

from __future__ import annotations

import json
import time

import pytest
import torch
import yaml
from torch import nn

from common.log import log_through
from experiment.run import run
from experiment.settings import Settings
from training import hardware, precision
from training.hardware import choose_hardware
from training.settings import HardwareSettings

INPUTS = torch.rand(8, 1, 28, 28)


class Net(nn.Module):
    """Is slow, or wrong, in bf16 where asked to be; batch statistics and random draws inside."""

    def __init__(self, slow: str = "", error: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.1))
        self.slow, self.error = slow, error

    def forward(self, x):
        bf16 = torch.is_autocast_enabled("cpu")
        if self.training and self.slow == ("bf16" if bf16 else "fp32"):
            end = time.process_time() + 0.1
            while time.process_time() < end:
                pass
        return self.layers(x) * (1 + self.error * bf16)


@pytest.mark.parametrize(
    ("net", "dtype", "reason"),
    [
        (Net(), torch.bfloat16, ""),  # too short to measure: the same each time
        (Net(slow="fp32"), torch.bfloat16, ""),
        (Net(slow="bf16"), torch.float32, "times as long"),
        (Net(slow="fp32", error=0.1), torch.float32, "differs by"),
    ],
)
def test_the_probe_takes_fp32_only_where_bf16_is_clearly_slower_or_wrong(net, dtype, reason):
    fast = choose_hardware(HardwareSettings(device="cpu", precision="bf16"))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    messages: list[str] = []
    with log_through(messages.append):
        found = precision.probe(fast, net, INPUTS)
    assert found.dtype == dtype and set(found.probe) == {"bf16_time_over_fp32", "difference"}
    assert len(messages) == bool(reason) and all(reason in text for text in messages)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_the_precision_probe_is_recorded_and_kept_on_resume(tmp_path, monkeypatch):
    probes = []

    def probe(found, net, inputs):
        probes.append(tuple(inputs.shape))
        return precision.replace(found, dtype=torch.bfloat16, probe={"difference": 0.0})

    monkeypatch.setattr(hardware, "_has_fast_bf16", lambda device: True)
    monkeypatch.setattr(precision, "probe", probe)
    values = {
        "data": "garments", "images": 128, "val_images": 20, "layers": 1, "device": "cpu",
        "runs_dir": str(tmp_path), "mode": "disabled",
    }  # fmt: skip
    result = run(Settings.parse("resconv", values), observer=lambda row: None)
    environment = yaml.safe_load((result.folder / "config.yaml").read_text())["environment"]
    assert environment["precision"] == "bf16" and environment["precision_probe"] == {
        "difference": 0.0
    }
    summary = json.loads((result.folder / "summary.json").read_text())
    (result.folder / "summary.json").write_text(json.dumps(summary | {"state": "preempted"}))
    monkeypatch.setattr(hardware, "_has_fast_bf16", lambda device: False)
    settings = Settings.parse("resconv", values | {"resume": str(result.folder)})
    trainer_hardware = []
    choose = precision.choose_precision

    def watch(*args):
        trainer_hardware.append(choose(*args))
        return trainer_hardware[-1]

    monkeypatch.setattr("experiment.run.choose_precision", watch)
    run(settings, observer=lambda row: None)
    assert trainer_hardware[0].dtype == torch.bfloat16 and probes == [(8, 1, 28, 28)]
    for given in ({"precision": "bf16"}, {"deterministic": True}):
        monkeypatch.setattr(hardware, "_has_fast_bf16", lambda device: True)
        run(Settings.parse("resconv", values | given), observer=lambda row: None)
    baseline = {k: v for k, v in values.items() if k != "layers"} | {"method": "mean"}
    run(Settings.parse("baseline", baseline), observer=lambda row: None)
    assert len(probes) == 1


def test_the_peak_of_memory_is_that_of_one_run():
    cpu = choose_hardware(HardwareSettings(device="cpu"))
    before = cpu.peak_memory_mib()
    big = torch.ones(100 * 2**20)
    with_big = cpu.peak_memory_mib()
    del big
    after = choose_hardware(HardwareSettings(device="cpu")).peak_memory_mib()
    assert with_big > before + 350 and after < with_big - 350
