"""Rebuild a trained net from a checkpoint or run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from common.errors import InputError
from experiment import checkpoints
from experiment.settings import Settings, command_of, stored_values
from tasks import classification, restoration
from tasks.settings import RestorationSettings


@dataclass(frozen=True)
class TrainedNet:
    """A trained net in evaluation mode on the CPU, and the settings it was trained with."""

    net: nn.Module
    settings: Settings
    config: dict[str, Any]
    channels: int  # of its images
    class_names: tuple[str, ...]


def load_trained(path: Path, task: str, hint: str) -> TrainedNet:
    """The net of a checkpoint; a run folder means its best one.

    Raises ``InputError``, ending in ``hint``, for a checkpoint of another task, and for weights
    that do not fit the net that it names.
    """
    path = path / "checkpoints" / "best.pt" if path.is_dir() else path
    contents = checkpoints.load(path)
    config = contents["config"]
    settings = Settings.parse(command_of(config), stored_values(config))
    if settings.task_name != task:
        raise InputError(f"{path}: a checkpoint of {settings.command}, not of {task}; {hint}")
    channels = config["dataset"]["image_channels"]
    class_names = tuple(config["dataset"]["classes"])
    if isinstance(settings.task, RestorationSettings):
        net = restoration.build_net(
            settings.command, settings.net, settings.task, channels, settings.data.height_width
        )
    else:
        shape = (channels, *settings.data.height_width)
        net = classification.build_net(settings.net, len(class_names), shape)
    try:
        net.load_state_dict(contents["model"])
    except RuntimeError:
        raise InputError(
            f"{path}: its weights do not fit the net that it names; give a checkpoint as it was "
            "saved"
        ) from None
    return TrainedNet(net.eval(), settings, config, channels, class_names)
