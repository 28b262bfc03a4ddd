"""What is computed, against a plain loop and plain formulas that share no code with the project."""

from __future__ import annotations

import copy
import csv
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from tests.adapters import Trainer, build_net, image_data, load_checkpoint, set_chunk
from tests.conftest import SIZE

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
# The half erased of each validation image: left 0, right 1, top 2, bottom 3. Frozen for ever.
FIXED_SIDES = "0231013231201320132012032031032113203201012302131302310201321302"


def halves(images: Tensor) -> list[Tensor]:
    """The four masks of an erased half: left, right, top, bottom."""
    height, width = images.shape[-2:]
    masks = [torch.zeros(height, width, dtype=torch.bool) for _ in range(4)]
    masks[0][:, : width // 2] = True
    masks[1][:, width // 2 :] = True
    masks[2][: height // 2] = True
    masks[3][height // 2 :] = True
    return masks


def erased(image: Tensor, mask: Tensor) -> Tensor:
    image = image.clone()
    image[:, mask] = 0
    return image


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


@pytest.mark.parametrize("command", ["resconv", "classify"])
def test_training_lowers_the_validation_loss(command, tiny_data):
    options = PLAIN_NET | {"lr": 0.01} if command == "resconv" else {"lr": 0.01, "rank": 2}
    trainer = Trainer(command, tiny_data, batch_size=12, images=30 * 12, **options)
    key = "val/l1" if command == "resconv" else "val/loss"
    before = trainer.validate()[key]
    for _ in range(trainer.steps):
        trainer.train_step()
    after = trainer.validate()[key]
    assert after < 0.8 * before


def hand_written_resconv(w: dict[str, Tensor], x: Tensor, layers: int, alpha: float) -> Tensor:
    """Training-mode output of a stride-1 net with batch norm before its convs."""

    def norm(x: Tensor, name: str) -> Tensor:
        if f"{name}.before.weight" not in w:
            return x
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        scale, shift = w[f"{name}.before.weight"], w[f"{name}.before.bias"]
        x = (x - mean) / (var + 1e-5).sqrt()
        return x * scale[:, None, None] + shift[:, None, None]

    def conv(x: Tensor, name: str) -> Tensor:
        weight = w[f"{name}.weight"]
        return F.conv2d(x, weight, w[f"{name}.bias"], padding=weight.shape[-1] // 2)

    outputs = []
    for n in range(layers):
        x = conv(norm(x, f"encoder.{n}"), f"encoder.{n}.conv")
        x = x if n == layers - 1 else x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        outputs.append(x)
    outputs.pop()
    for n in range(layers):
        x = conv(norm(x, f"decoder.{n}"), f"decoder.{n}.conv.conv")
        if n == layers - 1:
            return 1 / (1 + torch.exp(-x))
        x = x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        x = x + alpha * outputs.pop()
    raise AssertionError


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
def test_restoration_inputs_are_the_images_with_a_drawn_half_set_to_0(size, tiny_splits):
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
    assert min(counts) > 60  # of 384 in all, 96 expected
    assert max(map(len, sides_of.values())) > 1, "a half is drawn anew in each epoch"


def augmentations(image: Tensor, *, flip: bool, shift: int, cutout: int) -> Tensor:
    """Every image that may be made of ``image`` [c h w]: mirrored, moved, a square made grey."""
    _, height, width = image.shape
    made = []
    for mirrored in (False, True) if flip else (False,):
        base = image.flip(2) if mirrored else image
        framed = F.pad(base, (shift,) * 4, value=128)
        for down, right in itertools.product(range(2 * shift + 1), repeat=2):
            made.append(framed[:, down : down + height, right : right + width])
    if not cutout:
        return torch.stack(made)
    cut = []
    for moved in made:
        for y, x in itertools.product(range(height), range(width)):
            copied = moved.clone()
            top, left = y - cutout // 2, x - cutout // 2
            copied[:, max(top, 0) : top + cutout, max(left, 0) : left + cutout] = 128
            cut.append(copied)
    return torch.stack(cut)


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


# Figures recomputed from weights and plainly read images.


def window(channels: int) -> Tensor:
    """A Gaussian of 11 pixels and sigma 1.5, [c 1 11 11]."""
    g = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    g = torch.outer(g, g) / g.sum() ** 2
    return g.double().expand(channels, 1, 11, 11)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """The structural similarity of each pair of images in [0, 1], reflected at the border."""
    c = a.shape[1]
    a, b = (F.pad(x, (5, 5, 5, 5), mode="reflect") for x in (a, b))
    mean = lambda x: F.conv2d(x, window(c), groups=c)  # noqa: E731
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    index = (2 * ma * mb + 0.01**2) * (2 * cov + 0.03**2)
    index = index / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2))
    return index.mean((1, 2, 3))


def psnr(errors: Tensor) -> float:
    decibels = [-10 * math.log10(e.square().mean().item()) for e in errors]
    return sum(decibels) / len(decibels)


def restoration_figures(
    net: nn.Module, images: Tensor, sides: list[int], extra: bool = False
) -> dict[str, float]:
    """All validation figures of uint8 images; ``extra``: the net sees mask and coordinates."""
    targets = images.float() / 255
    masks = torch.stack([halves(images)[side] for side in sides])[:, None].expand_as(targets)
    inputs = targets.masked_fill(masks, 0)
    if extra:
        places = torch.linspace(-1, 1, images.shape[-1]).expand_as(targets)
        inputs = torch.cat([inputs, masks.float(), places.mT, places], dim=1)
    with torch.no_grad():
        outputs = net.eval()(inputs)
    outputs, targets = outputs.double(), targets.double()
    filled = torch.where(masks, outputs, targets)
    errors = (outputs - targets).abs()
    return {
        "val/l1": errors.mean().item(),
        "val/l1_erased": errors[masks].mean().item(),
        "val/l1_kept": errors[~masks].mean().item(),
        "val/l1_composite": (filled - targets).abs().mean().item(),
        "val/mse": errors.square().mean().item(),
        "val/psnr": psnr(errors),
        "val/ssim": ssim(outputs, targets).mean().item(),
        "val/psnr_composite": psnr(filled - targets),
        "val/ssim_composite": ssim(filled, targets).mean().item(),
    }


def class_figures(
    net: nn.Module, images: Tensor, labels: Tensor, split: str, mirror: bool = False
) -> dict[str, float]:
    """Loss and accuracy of uint8 images."""
    inputs = (images.float() / 255 - 0.5) * 4
    with torch.no_grad():
        outputs = net.eval()(inputs)
        if mirror:
            outputs = (outputs + net(inputs.flip(3))) / 2
    log_p = outputs.double().log_softmax(1)
    right = sum(int(row.argmax()) == int(label) for row, label in zip(outputs, labels, strict=True))
    loss = -sum(row[label].item() for row, label in zip(log_p, labels, strict=True)) / len(labels)
    return {f"{split}/loss": loss, f"{split}/accuracy": right / len(labels)}


def side_numbers(n: int) -> list[int]:
    return [int(side) for side in FIXED_SIDES[:n]]


@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize(
    ("command", "values"),
    [
        ("resconv", PLAIN_NET),
        ("classify", {"flip": True, "shift": 4, "cutout": 4, "dropout": 0.5}),
        ("classify", {"mirror_eval": True}),
    ],
)
def test_validation_figures_are_those_of_the_formulas(
    command, values, chunk, tiny_data, tiny_splits, monkeypatch
):
    set_chunk(monkeypatch, chunk)
    trainer = Trainer(command, tiny_data, batch_size=12, lr=0.01, **values)
    for _ in range(3):
        trainer.train_step()
    found = trainer.validate()
    assert trainer.net.training, "training goes on in training mode"
    images, labels = tiny_splits["val"]
    net = copy.deepcopy(trainer.net)
    if command == "resconv":
        expected = restoration_figures(net, images, side_numbers(len(images)))
    else:
        expected = class_figures(net, images, labels, "val", mirror="mirror_eval" in values)
    assert {k: v for k, v in found.items() if k in expected} == pytest.approx(expected, abs=2e-5)
    assert set(expected) <= set(found)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def read(path: Path) -> Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy())[None, None]


@pytest.fixture
def pictures(tmp_path: Path, tiny_splits) -> Path:
    """The tiny data set as files: train, val and test, a folder for each class."""
    for split, (images, labels) in tiny_splits.items():
        for n, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            path = tmp_path / "pictures" / split / f"class{label}" / f"{n:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(path)
    return tmp_path / "pictures"


def trained(cli, command: str, pictures: Path, *options: object) -> Path:
    runs = pictures.parent / "runs"
    outcome = cli(
        command, "--data", pictures, "--size", SIZE, "--batch-size", 16, "--mode", "disabled",
        "--device", "cpu", "--precision", "fp32", "--runs-dir", runs, "--log-every", 4, *options,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    [folder] = runs.iterdir()
    return folder


def test_the_figures_of_a_restoration_run_come_from_its_checkpoint(cli, pictures, tiny_splits):
    run = trained(cli, "resconv", pictures, "--layers", 3, "--ch", 6, "--epochs", 2, "--lr", 0.01)
    summary = json.loads((run / "summary.json").read_text())
    nets = {}
    for name in ("best", "last"):
        saved = load_checkpoint(run / "checkpoints" / f"{name}.pt")
        nets[name] = build_net(saved["config"], 4, 1)
        nets[name].load_state_dict(saved["model"])
    shown = rows_of(run / "tables" / "reconstructions.csv")
    assert len(shown) == 20
    for row in shown:
        target = read(run / row["target"])
        side = ["left", "right", "top", "bottom"].index(row["damage"].split()[0])
        figures = restoration_figures(nets["last"], target, [side])
        assert float(row["l1"]) == pytest.approx(figures["val/l1"], abs=1e-5)
        assert float(row["l1_erased"]) == pytest.approx(figures["val/l1_erased"], abs=1e-5)
    # The whole validation does not depend on the order of the files where no half is erased less
    # often than another: each group of four images has each half once.
    by_hash = sorted(
        (pictures / "val").rglob("*.png"), key=lambda p: path_hash(p.relative_to(pictures / "val"))
    )
    images = torch.cat([read(path) for path in by_hash])
    expected = restoration_figures(nets["best"], images, side_numbers(len(images)))
    best = {k: v for k, v in summary["best"].items() if k in expected}
    assert best == pytest.approx(expected, abs=5e-5)
    errors = [float(r["val/l1"]) for r in rows_of(run / "metrics.csv") if r["val/l1"]]
    assert summary["best"]["val/l1"] == pytest.approx(min(errors))


def path_hash(path: Path) -> bytes:
    import hashlib

    return hashlib.sha256(path.as_posix().encode()).digest()


def test_the_figures_of_a_classification_run_come_from_its_best_checkpoint(cli, pictures):
    # The rate is too high to end at the best weights.
    run = trained(cli, "classify", pictures, "--epochs", 4, "--scheduler", "constant", "--lr", 0.02)
    summary = json.loads((run / "summary.json").read_text())
    losses = {}
    for name in ("best", "last"):
        saved = load_checkpoint(run / "checkpoints" / f"{name}.pt")
        net = build_net(saved["config"], 4, 1)
        net.load_state_dict(saved["model"])
        for split in ("val", "test"):
            files = sorted((pictures / split).rglob("*.png"))
            images = torch.cat([read(path) for path in files])
            labels = torch.tensor([int(path.parent.name[5:]) for path in files])
            losses[name, split] = class_figures(net, images, labels, split)
        if name == "best":
            for row in rows_of(run / "tables" / "predictions.csv"):
                with torch.no_grad():
                    inputs = (read(run / row["picture"]).float() / 255 - 0.5) * 4
                    p = net.eval()(inputs).softmax(1)[0].tolist()
                assert [float(row[f"p_class{n}"]) for n in range(4)] == pytest.approx(p, abs=1e-4)
    assert abs(losses["best", "test"]["test/loss"] - losses["last", "test"]["test/loss"]) > 0.01
    last = summary["last"]
    assert {k: last[k] for k in losses["best", "test"]} == pytest.approx(
        losses["best", "test"], abs=2e-5
    )
    assert {k: last[k] for k in losses["last", "val"]} == pytest.approx(
        losses["last", "val"], abs=2e-5
    )
    best = {k: summary["best"][k] for k in losses["best", "val"]}
    assert best == pytest.approx(losses["best", "val"], abs=2e-5)
    accuracies = [float(r["val/accuracy"]) for r in rows_of(run / "metrics.csv") if r["val/loss"]]
    assert summary["best"]["val/accuracy"] == pytest.approx(max(accuracies))
