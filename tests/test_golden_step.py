"""Losses, gradients and updates of fixed first steps are those on record (golden/step.json).

A change of them changes what is learnt. Where that is the intention, take them anew with
``python -m tests.test_golden_step`` and say so in CHANGELOG.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.adapters import Trainer, image_data
from tests.conftest import make_tiny_splits

FILE = Path(__file__).parent / "golden" / "step.json"
NOISE = 1e-6  # a bias before batch norm has no gradient but rounding
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {  # command, steps, options
    "restoration": ("resconv", 4, {"layers": 3, "ch": 6, "ks": "3,5,3", "bn_last": True}),
    # ReLU and Adam enlarge rounding, which differs between processors: 1e-6 becomes 0.1 in 4 steps.
    "classification": ("classify", 2, {"rank": 2, "cutout": 3, "optimizer": "sgd"}),
}


def rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


def measure(case: str) -> dict[str, Any]:
    """The losses of the first steps; of the last one the RMS gradient and update by parameter."""
    command, steps, values = CASES[case]
    splits = make_tiny_splits()
    data = image_data(splits["train"], splits["val"])
    trainer = Trainer(command, data, batch_size=16, lr=0.003, images=160, **values)
    gradients: dict[str, float] = {}

    def keep(*_: Any) -> None:
        for name, parameter in trainer.net.named_parameters():
            gradients[name] = 0.0 if parameter.grad is None else rms(parameter.grad)

    trainer.optimizer.register_step_pre_hook(keep)
    losses = []
    before: dict[str, Tensor] = {}
    for _ in range(steps):
        before = {name: p.detach().clone() for name, p in trainer.net.named_parameters()}
        losses.append(next(iter(trainer.train_step().values())))
    updates = {name: rms(p.detach() - before[name]) for name, p in trainer.net.named_parameters()}
    return {"losses": losses, "gradients": gradients, "updates": updates}


@pytest.mark.parametrize("case", CASES)
def test_a_golden_step_is_repeated(case):
    golden = json.loads(FILE.read_text())[case]
    found = measure(case)
    assert found["gradients"].keys() == golden["gradients"].keys()
    exact = [name for name, value in golden["gradients"].items() if value > NOISE]
    assert len(exact) > len(golden["gradients"]) * 0.6
    lines = [
        f"{what} {name}: {now:.6g}, on record {then:.6g}"
        for what in ("gradients", "updates")
        for name in exact
        if (now := found[what][name]) != pytest.approx(then := golden[what][name], rel=2e-3)
    ]
    if found["losses"] != pytest.approx(golden["losses"], rel=1e-4):
        lines.insert(0, f"losses: {found['losses']}, on record {golden['losses']}")
    assert not lines, "\n".join(
        [
            f"training computes something else than on record for {case}:",
            *lines[:8],
            "If that is intended: python -m tests.test_golden_step, and a line in CHANGELOG.md.",
        ]
    )


if __name__ == "__main__":
    FILE.write_text(json.dumps({case: measure(case) for case in CASES}, indent=1) + "\n")
