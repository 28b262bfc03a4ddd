"""A trained classifier labels a folder of images: the logbook's submission file."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from common.errors import InputError
from common.files import write_output
from data.folder import read_unlabelled
from experiment import checkpoints as checkpoint
from experiment.settings import ClassifySettings
from models.channel_selection import to_plain_convs
from tasks.classification import make_net, outputs_of
from training.hardware import choose_hardware


@dataclass(frozen=True)
class Classifier:
    """A trained net with what it needs to be used."""

    net: nn.Module
    settings: ClassifySettings
    class_names: tuple[str, ...]
    channels: int


def load_classifier(path: Path) -> Classifier:
    """The net of a checkpoint, its channel selections turned into the plain convs they equal.

    ``path`` may be a run folder: then its best checkpoint. Raises ``InputError`` for a checkpoint
    of another task, or whose weights do not fit the net it names.
    """
    path, contents, settings = checkpoint.load_trained(
        path, ClassifySettings.task, "give the best.pt of a classify run"
    )
    config = contents["config"]
    class_names = tuple(config["dataset"]["classes"])
    channels = config["dataset"]["image_channels"]
    net = make_net(settings, len(class_names), channels)
    try:
        net.load_state_dict(contents["model"])
    except RuntimeError as error:
        raise InputError(
            f"{path}: its weights are not those of --model {settings.model} --conv "
            f"{settings.conv} --rank {settings.rank}, which it names; give a checkpoint as it "
            f"was saved"
        ) from error
    to_plain_convs(net)
    return Classifier(net.eval(), settings, class_names, channels)


def predict_folder(path: Path, folder: Path, out: Path, *, device: str = "auto") -> str:
    """Write ``out``: a row an image with ``id`` (its path in ``folder``), ``label`` and ``p_…``.

    Returns one line for the user. Raises ``InputError`` for a bad checkpoint, folder or ``out``.
    """
    classifier = load_classifier(path)
    settings = replace(classifier.settings, device=device, compile=False)
    hardware = choose_hardware(settings)
    names, images, skipped = read_unlabelled(
        folder, settings.height_width, channels=classifier.channels
    )
    net = hardware.prepare(classifier.net)
    with torch.no_grad(), hardware.autocast():
        outputs = outputs_of(images, net, hardware, mirror=settings.mirror_eval)
    chances = outputs.softmax(1).cpu()
    guesses = chances.argmax(1).tolist()
    labels = [classifier.class_names[guess] for guess in guesses]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label", *(f"p_{name}" for name in classifier.class_names)])
    for name, label, row in zip(names, labels, chances.tolist(), strict=True):
        writer.writerow([name, label, *(f"{chance:.6f}" for chance in row)])
    try:
        write_output(out, text.getvalue())
    except OSError as error:
        raise InputError(
            f"--out {out}: cannot be written ({error.strerror}), for example --out submission.csv"
        ) from error
    counts = ", ".join(f"{name} {labels.count(name):,}" for name in classifier.class_names)
    passed = f", {skipped:,} files passed over" if skipped else ""
    return f"{len(names):,} images labelled ({counts}){passed}: {out}"
