"""What is trained, against a plain loop and plain formulas (tests/plain.py)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.adapters import Trainer, image_data
from tests.conftest import SIZE
from tests.plain import (
    augmentations,
    class_figures,
    erased,
    halves,
    hand_written_resconv,
    restoration_figures,
    side_numbers,
)

PLAIN_NET = {"layers": 3, "ch": 6, "ks": "3,5,3", "residual_weight": 0.5}
PLAIN_CLASSIFIER = {"flip": False, "shift": 0, "dropout": 0, "lr": 0.002}
INPUTS = {"mask_input": True, "coordinates": True}
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    "restoration, l1": ("resconv", PLAIN_NET),
    "restoration, l2": ("resconv", PLAIN_NET | {"loss": "l2", "bn_encoder": "after-conv"}),
    "restoration, erased part": ("resconv", PLAIN_NET | INPUTS | {"loss_region": "corrupted"}),
    "restoration, composite": ("resconv", PLAIN_NET | {"composite": True, "optimizer": "sgd"}),
    "classification": ("classify", PLAIN_CLASSIFIER | {"conv": "full", "label_smoothing": 0.1}),
    "classification, decay of weights": (
        "classify", PLAIN_CLASSIFIER | {"conv": "full", "decay": "weights", "weight_decay": 1.0}
    ),
    "channel selection": ("classify", PLAIN_CLASSIFIER | {"rank": 2, "deterministic": True}),
}  # fmt: skip


def plain_batch(trainer: Trainer, case: str, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and erased pixels of a batch, from the stored images.

    Which half is erased is read off the given inputs.
    """
    command, values = TRAININGS[case]
    raw, labels = trainer.raw_batch(step)
    if command == "classify":
        return (raw.float() / 255 - 0.5) * 4, labels, labels
    targets = raw.float() / 255
    inputs, masks = [], []
    for image, wanted in zip(targets, trainer.prepared(step)[0][:, :1], strict=True):
        errors = [(erased(image, mask) - wanted).abs().max().item() for mask in halves(image)]
        masks.append(halves(image)[errors.index(min(errors))])
        inputs.append(erased(image, masks[-1]))
    mask = torch.stack(masks)[:, None]
    stacked = torch.stack(inputs)
    if "mask_input" in values:
        places = torch.linspace(-1, 1, SIZE).expand(len(raw), 1, SIZE, SIZE)
        stacked = torch.cat([stacked, mask.float(), places.mT, places], dim=1)
    return stacked, targets, mask


def plain_loss(case: str, outputs: Tensor, inputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """The loss of a case by its formula."""
    command, values = TRAININGS[case]
    if command == "classify":
        return F.cross_entropy(outputs, targets, label_smoothing=values.get("label_smoothing", 0.0))
    if "composite" in values:
        outputs = torch.where(mask, outputs, inputs)
    errors = outputs - targets
    errors = errors.square() if values.get("loss") == "l2" else errors.abs()
    return errors[mask].mean() if "loss_region" in values else errors.mean()


def plain_optimizer(case: str, net: nn.Module) -> torch.optim.Optimizer:
    _, values = TRAININGS[case]
    rate, decay = values.get("lr", 3e-4), values.get("weight_decay", 0.01)
    if values.get("optimizer") == "sgd":
        return torch.optim.SGD(
            net.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=decay
        )
    groups: list[dict[str, Any]] = [{"params": list(net.parameters())}]
    if "decay" in values:
        groups = [{"params": [p for p in net.parameters() if p.ndim > 1]}]
        groups += [{"params": [p for p in net.parameters() if p.ndim < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999), weight_decay=decay)


def plain_figures(command: str, net: nn.Module, splits: Any, values: Any) -> dict[str, float]:
    """The validation figures of a copy of ``net``."""
    images, labels = splits["val"]
    if command == "classify":
        return class_figures(copy.deepcopy(net), images, labels, "val")
    sides = side_numbers(len(images))
    return restoration_figures(copy.deepcopy(net), images, sides, "mask_input" in values)


@pytest.mark.parametrize("case", TRAININGS)
def test_a_training_is_a_plain_loop_over_its_batches(case, tiny_data, tiny_splits):
    """Two epochs through the real loop, with a validation after each."""
    command, values = TRAININGS[case]
    trainer = Trainer(command, tiny_data, batch_size=12, images=16 * 12, **values)
    net = copy.deepcopy(trainer.net)
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = plain_optimizer(case, net)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=16)
    assert trainer.steps == 16
    losses, rates, figures = [], [], []
    for step in range(16):
        inputs, targets, mask = plain_batch(trainer, case, step)
        optimizer.zero_grad()
        loss = plain_loss(case, net.train()(inputs), inputs[:, :1], targets, mask)
        loss.backward()
        rates += schedule.get_last_lr()[:1]
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step in (7, 15):
            figures.append(plain_figures(command, net, tiny_splits, values))
    rows = trainer.train()
    name = {"classify": "loss"}.get(command, values.get("loss", "l1"))
    assert [row[f"train/{name}"] for row in rows] == pytest.approx(losses, abs=1e-4)
    assert [row["train/lr"] for row in rows] == pytest.approx(rates, rel=1e-6)
    validated = [{k: v for k, v in row.items() if k in figures[0]} for row in rows if len(row) > 9]
    assert len(validated) == 2, "a validation after each epoch"
    for found, expected in zip(validated, figures, strict=True):
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-3)
    theirs = dict(trainer.net.named_parameters())
    for name, parameter in net.named_parameters():
        assert theirs[name].dtype == torch.float32
        assert not torch.equal(theirs[name], start[name]), f"{name} has not moved"
        if parameter.ndim > 1:  # a bias before batch norm has no gradient but rounding
            distance = (theirs[name] - parameter).abs().max().item()
            assert distance < 2e-4, f"{name} differs by {distance}"
    buffers = dict(trainer.net.named_buffers())
    for name, buffer in net.named_buffers():
        assert torch.allclose(buffers[name].double(), buffer.double(), rtol=1e-3, atol=1e-3), name


def test_gradients_of_resconv_are_those_of_its_formula(tiny_data):
    net = copy.deepcopy(Trainer("resconv", tiny_data, batch_size=4, **PLAIN_NET).net).double()
    torch.manual_seed(1)
    x, target = torch.rand(2, 4, 1, 9, 9, dtype=torch.float64).unbind()
    w = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    expected = hand_written_resconv(w, x, layers=3, alpha=0.5)
    output = net(x)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-10)
    F.mse_loss(expected, target).backward()
    F.mse_loss(output, target).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        torch.testing.assert_close(parameter.grad, w[name].grad, rtol=1e-6, atol=1e-10, msg=name)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("command", ["resconv", "classify"])
def test_losses_and_figures_are_computed_in_float32(command, precision, tiny_data):
    trainer = Trainer(command, tiny_data, batch_size=12, precision=precision)
    seen: list[torch.dtype] = []
    dtypes: list[torch.dtype] = []
    trainer.spy_on_losses(lambda outputs: seen.append(outputs.dtype))
    conv = next(m for m in trainer.net.modules() if isinstance(m, nn.Conv2d))
    conv.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    for name, tensor in trainer.net.state_dict().items():
        assert tensor.dtype in (torch.float32, torch.int64), name
    trainer.train_step()
    inputs, targets, _ = trainer.prepared(0)
    assert seen == [torch.float32]
    assert dtypes == [torch.float32 if precision == "fp32" else torch.bfloat16]
    assert inputs.dtype == torch.float32
    assert targets.dtype == (torch.float32 if command == "resconv" else torch.int64)
    assert trainer.forward_evaluating(inputs).dtype == torch.float32
    states = [v for s in trainer.optimizer.state.values() for v in s.values()]
    assert states and all(v.dtype == torch.float32 for v in states if isinstance(v, Tensor))


def indices_of(images: Tensor, within: Tensor) -> list[int]:
    """Where each image stands among those ``within``."""
    places = {image.numpy().tobytes(): n for n, image in enumerate(within)}
    assert len(places) == len(within), "the images differ from each other"
    return [places.get(image.contiguous().numpy().tobytes(), -1) for image in images]


@pytest.mark.parametrize("command", ["resconv", "classify"])
def test_batches_are_the_training_images_in_a_new_order_each_epoch(command, tiny_data, tiny_splits):
    images, labels = tiny_splits["train"]
    trainer = Trainer(command, tiny_data, batch_size=16)
    epochs = []
    steps = len(images) // 16
    for epoch in range(3):
        order = []
        for step in range(epoch * steps, (epoch + 1) * steps):
            raw, found = trainer.raw_batch(step)
            where = indices_of(raw, images)
            assert torch.equal(found, labels[where])
            order += where
        assert sorted(order) == list(range(len(images)))
        assert order != sorted(order)
        epochs.append(tuple(order))
    assert len(set(epochs)) == 3
    other = Trainer(command, tiny_data, batch_size=16, seed=1)
    assert indices_of(other.raw_batch(0)[0], images) != list(epochs[0][:16])


@pytest.mark.parametrize("size", [SIZE, 13])
def test_restoration_inputs_are_the_images_with_a_random_half_set_to_0(size, tiny_splits):
    images = F.pad(tiny_splits["train"][0], (0, size - SIZE, 0, size - SIZE), value=77)
    images = images.clamp(min=1)  # so that what is erased can be told from what is black
    data = image_data((images, tiny_splits["train"][1]), tiny_splits["val"])
    trainer = Trainer("resconv", data, batch_size=16)
    counts = [0, 0, 0, 0]
    sides_of: dict[int, set[int]] = {}
    for step in range(24):
        raw, _ = trainer.raw_batch(step)
        inputs, targets, mask = trainer.prepared(step)
        torch.testing.assert_close(targets, raw.float() / 255, rtol=0, atol=1e-7)
        masks = halves(raw)
        for n, index in enumerate(indices_of(raw, images)):
            sides = [s for s, m in enumerate(masks) if torch.equal(inputs[n, 0] == 0, m)]
            assert len(sides) == 1, "an input is the image with one half set to 0"
            side = sides[0]
            torch.testing.assert_close(
                inputs[n], erased(raw[n].float() / 255, masks[side]), rtol=0, atol=1e-7
            )
            assert mask is None or torch.equal(mask[n, 0], masks[side])
            counts[side] += 1
            sides_of.setdefault(index, set()).add(side)
    assert all(60 < count < 132 for count in counts)  # of 384 in all, 96 expected
    assert max(map(len, sides_of.values())) > 1, "a half is drawn anew in each epoch"


@pytest.mark.parametrize(
    "options",
    [
        {"flip": False, "shift": 0, "cutout": 0},
        {"flip": True, "shift": 0, "cutout": 0},
        {"flip": True, "shift": 2, "cutout": 0},
        {"flip": False, "shift": 0, "cutout": 5},
    ],
)
def test_classification_inputs_are_augmented_images_in_their_range(options, tiny_data):
    trainer = Trainer("classify", tiny_data, batch_size=16, **options)
    chosen = set()
    changed = 0
    for step in range(4):
        raw, labels = trainer.raw_batch(step)
        inputs, targets, _ = trainer.prepared(step)
        assert torch.equal(targets, labels)
        pixels = (inputs / 4 + 0.5) * 255
        assert pixels.min() > -1e-3 and pixels.max() < 255.001
        torch.testing.assert_close(pixels, pixels.round(), rtol=0, atol=1e-3)
        for image, given in zip(raw, pixels.round().to(torch.uint8), strict=True):
            allowed = augmentations(image, **options)
            found = (allowed == given).flatten(1).all(1).nonzero().flatten().tolist()
            assert found, "none of the images that augmentation may make"
            chosen.add(found[0])
            changed += not torch.equal(image, given)
    wanted = {"flip": 2, "shift": 30, "cutout": 30}
    least = max([1, *(n for key, n in wanted.items() if options[key])])
    assert len(chosen) >= least, "draws differ from image to image"
    assert (changed > 0) == (least > 1)
