"""``resconv`` and ``classify``: settings from the command line, then one run."""

from __future__ import annotations

from cli.options import settings_command
from experiment.settings import ClassifySettings, ResConvSettings, RunSettings


def _train(settings: RunSettings) -> int:
    from experiment.run import run

    return run(settings).exit_code


@settings_command(ResConvSettings)
def resconv(settings: RunSettings) -> int:
    """Train a residual conv encoder/decoder that restores the erased half of an image.

    Example: python train.py resconv --layers 11 --ks 3:9
    """
    return _train(settings)


@settings_command(ClassifySettings)
def classify(settings: RunSettings) -> int:
    """Train a classifier with ordinary convs or with channel selection.

    Example: python train.py classify --conv select --rank 1
    """
    return _train(settings)
