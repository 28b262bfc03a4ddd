"""Rebuild a trained net from a checkpoint or run folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from common.errors import InputError, one_of
from experiment import checkpoints
from experiment.resume import TERMINAL_STATES
from experiment.settings import Settings, command_of
from models.registry import NETS
from tasks import classification, restoration
from tasks.settings import RestorationSettings
from tracking.record import RunRecord


@dataclass(frozen=True)
class TrainedNet:
    """A trained net in evaluation mode on the CPU, and the settings it was trained with."""

    net: nn.Module
    settings: Settings
    config: dict[str, Any]
    channels: int  # of its images
    class_names: tuple[str, ...]


def check_ended(record: RunRecord, source: str) -> None:
    """Raises ``InputError`` for a run that can be continued."""
    if record.state not in TERMINAL_STATES:
        reason = f" ({record.reason})" if record.reason else ""
        raise InputError(
            f"{source}: the run is {record.state}{reason}, not finished; continue it with python "
            f"train.py {record.command} --resume {record.id}"
        )


def net_of(config: Mapping[str, Any]) -> tuple[Settings, nn.Module]:
    """The settings that a run's config holds, and their net, freshly initialised."""
    settings = Settings.of_run(config)
    channels, size = config["dataset"]["image_channels"], settings.data.height_width
    if isinstance(settings.task, RestorationSettings):
        net = restoration.build_net(settings.command, settings.net, settings.task, channels, size)
    else:
        classes = len(config["dataset"]["classes"])
        net = classification.build_net(settings.net, classes, (channels, *size))
    return settings, net.eval()


def load_trained(path: Path | str, task: str | None = None, hint: str = "") -> TrainedNet:
    """The net of a checkpoint; a run folder means its best one.

    Raises ``InputError``, ending in ``hint``, for a checkpoint of another task (None takes any);
    also for an unknown command, a baseline, and weights that do not fit the net.
    """
    path = Path(path)
    path = path / "checkpoints" / "best.pt" if path.is_dir() else path
    contents = checkpoints.load(path)
    config = contents["config"]
    command = command_of(config)
    if command not in NETS:
        raise InputError(f"{path}: a checkpoint of {command}, {one_of(command, NETS)}")
    if task and NETS[command].task != task:
        raise InputError(f"{path}: a checkpoint of {command}, not of {task}; {hint}")
    if NETS[command].fitted:
        raise InputError(f"{path}: a {command} has no trained net; give the run of a net")
    settings, net = net_of(config)
    try:
        net.load_state_dict(contents["model"])
    except RuntimeError:
        raise InputError(
            f"{path}: its weights do not fit the net that it names; give a checkpoint as it was "
            "saved"
        ) from None
    dataset = config["dataset"]
    return TrainedNet(net, settings, config, dataset["image_channels"], tuple(dataset["classes"]))
