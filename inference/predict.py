"""Label a folder of images with a trained classifier: the logbook's submission file."""

from dataclasses import replace
from pathlib import Path

import torch

from common.files import csv_text, write_output
from data.folder import read_unlabelled
from inference.load import TrainedNet, load_trained
from models.channel_selection import to_plain_convs
from tasks.classification import logits_of
from tasks.settings import ClassificationSettings
from training.hardware import choose_hardware


def load_classifier(path: Path | str) -> TrainedNet:
    """The classifier of a checkpoint, its channel selections merged into the equal plain convs.

    ``path`` may be a run folder: then its best checkpoint. Raises ``InputError`` for a checkpoint
    of another task, or whose weights do not fit the net that it names.
    """
    trained = load_trained(path, "classification", "give the best.pt of a classify run")
    to_plain_convs(trained.net)
    return trained


def predict_folder(path: Path, folder: Path, out: Path, *, device: str = "auto") -> str:
    """Write ``out``: a row an image with ``id`` (its path in ``folder``), ``label`` and ``p_…``.

    Returns one line for the user. Raises ``InputError`` for a bad checkpoint, folder or ``out``.
    """
    classifier = load_classifier(path)
    settings, classes = classifier.settings, classifier.class_names
    mirror = isinstance(settings.task, ClassificationSettings) and settings.task.mirror_eval
    plain = replace(settings.hardware, device=device, precision="fp32", compile=False)
    hardware = choose_hardware(plain)
    names, images, remarks = read_unlabelled(
        folder, settings.data.height_width, channels=classifier.channels
    )
    net = hardware.prepare(classifier.net)
    with torch.no_grad(), hardware.autocast():
        logits = logits_of(images, net, hardware.device, mirror=mirror)
    probabilities = logits.softmax(1).cpu()
    labels = [classes[best] for best in probabilities.argmax(1).tolist()]
    rows = [
        {"id": name, "label": label}
        | {f"p_{c}": f"{p:.6f}" for c, p in zip(classes, row, strict=True)}
        for name, label, row in zip(names, labels, probabilities.tolist(), strict=True)
    ]
    write_output(out, csv_text(rows))
    counts = ", ".join(f"{name} {labels.count(name):,}" for name in classes)
    aside = "".join(f"; {remark}" for remark in remarks)
    return f"{len(names):,} images labelled ({counts}){aside}: {out}"
