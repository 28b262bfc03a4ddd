"""All settings of one run: the options of every group, parsed into one frozen object.

Nothing heavy is imported here: --help and wrong input are answered without torch.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any, ClassVar

from common.errors import InputError, nearest, one_of
from common.options import Choice, Interval, Option, OptionGroup, Seconds, Text, flag, option
from data.settings import DataSettings
from models.registry import NETS, NetSettings, command_of
from tasks.settings import ClassificationSettings, RestorationSettings
from tracking.settings import TrackingSettings
from training.settings import HardwareSettings, TrainingSettings

TASK_SETTINGS = {"restoration": RestorationSettings, "classification": ClassificationSettings}
SECTIONS = ("Model", "Task", "Data", "Augmentation", "Training", "Hardware", "Run", "Tracking")

_option = partial(option, identity=False)  # of this group none is part of the identity


@dataclass(frozen=True, kw_only=True)
class RunSettings(OptionGroup):
    """Where a run is kept, how often it is saved, and whether it continues another."""

    section: ClassVar[str] = "Run"

    checkpoint_every: int | str | None = _option(
        None,
        Interval(),
        "Also save last.pt every N images (20000) or minutes (10m), besides each validation.",
    )
    hang_after: int | None = _option(
        None,
        Seconds(),
        "A run hangs when a step, validation, save or upload takes longer: seconds (300, or 5m), 0 "
        "for never, or auto: 10 times the median so far, at least a minute.",
    )
    hang_action: str = _option(
        "report",
        Choice(("report", "stop")),
        "What happens then: report writes the stacks of all threads into the run folder; stop also "
        "ends the run as preempted.",
    )
    resume: str | None = _option(
        None,
        Text(optional=True, path=True),
        "Continue a run: its folder, its id, or auto (the unfinished run of the same experiment).",
    )
    runs_dir: str = _option("runs", Text(path=True), "Where run folders are made.")


def groups_of(command: str) -> dict[str, type[OptionGroup]]:
    """The settings group of each attribute of ``Settings``. Raises ``InputError``."""
    if command not in NETS:
        raise InputError(f"{command}: {one_of(command, NETS)}")
    entry = NETS[command]
    return {
        "net": entry.settings,
        "task": TASK_SETTINGS[entry.task],
        "data": DataSettings,
        "training": TrainingSettings,
        "hardware": HardwareSettings,
        "run": RunSettings,
        "tracking": TrackingSettings,
    }


def options_of(command: str) -> dict[str, Option]:
    """Every option of ``command`` by name. Raises ``InputError`` for an unknown command."""
    return _options_of(tuple(groups_of(command).values()), tuple(NETS[command].defaults.items()))


@cache
def _options_of(
    groups: tuple[type[OptionGroup], ...], defaults: tuple[tuple[str, Any], ...]
) -> dict[str, Option]:
    """Cached, because a sweep parses thousands of settings."""
    found = {}
    for cls in groups:
        for f in fields(cls):
            default = dict(defaults).get(f.name, f.default)
            option: Option = f.metadata["option"]
            section = option.section or cls.section
            found[f.name] = replace(option, name=f.name, default=default, section=section)
    return dict(sorted(found.items(), key=lambda item: SECTIONS.index(item[1].section)))


@dataclass(frozen=True)
class Settings:
    """The settings of one run. Each group is read where it acts."""

    command: str
    net: NetSettings
    task: RestorationSettings | ClassificationSettings
    data: DataSettings
    training: TrainingSettings
    hardware: HardwareSettings
    run: RunSettings
    tracking: TrackingSettings

    @classmethod
    def parse(cls, command: str, values: Mapping[str, Any]) -> Settings:
        """Settings of ``command`` from options given by name, typed or as text.

        Hyphens and underscores in names mean the same. Raises ``InputError`` for an unknown
        command or option (with the nearest name), a value that cannot be read, or values that do
        not fit together.
        """
        options = options_of(command)
        read: dict[str, Any] = {}
        for key, value in values.items():
            name = key.replace("-", "_")
            if name not in options:
                raise InputError(
                    f"{key}: not an option of {command}.{nearest(name, options)} "
                    f"See python train.py {command} --help"
                )
            if name in read:
                raise InputError(
                    f"{name}: given twice, with hyphens and with underscores; give it once"
                )
            read[name] = options[name].read(name, value)
        settings = cls.build(command, {o.name: o.default for o in options.values()} | read)
        # A grid may cross rank with both convs; a rank without --conv is a forgotten --conv select.
        if read.get("rank", 1) != 1 and "conv" not in read and settings.flat()["conv"] == "full":
            raise InputError(
                f"--rank {read['rank']}: only channel selections have a rank, for example "
                f"--conv select --rank {read['rank']}"
            )
        settings.validate()
        return settings

    @classmethod
    def of_run(cls, config: Mapping[str, Any], **changes: Any) -> Settings:
        """The settings that a run's config holds, some of them changed. Raises ``InputError``."""
        return cls.parse(command_of(config), stored_values(config) | changes)

    @classmethod
    def build(cls, command: str, values: Mapping[str, Any]) -> Settings:
        groups = {
            group: kind(**{f.name: values[f.name] for f in fields(kind)})
            for group, kind in groups_of(command).items()
        }
        return cls(command=command, **groups)  # pyright: ignore[reportArgumentType]

    @property
    def task_name(self) -> str:
        return NETS[self.command].task

    def validate(self) -> None:
        """Cross-field validation. Raises ``InputError``."""
        self.training.validate()
        self.net.validate(self.data.height_width)
        self.task.validate(self.data)

    def without_effect(self) -> list[Option]:
        """The options that were changed although another option leaves them without effect."""
        values = self.flat()
        changed = [o for o in options_of(self.command).values() if values[o.name] != o.default]
        return [o for o in changed if not o.has_effect(values)]

    def flat(self) -> dict[str, Any]:
        """Every option's value by name, as in ``run.config``, YAML and checkpoints."""
        groups = (getattr(self, group) for group in groups_of(self.command))
        values = {f.name: getattr(group, f.name) for group in groups for f in fields(group)}
        return values | {"tags": list(self.tracking.tags)}

    def replace(self, **changes: Any) -> Settings:
        """The same settings with some options changed, not validated again."""
        values = self.flat() | {"tags": self.tracking.tags} | changes
        return self.build(self.command, values)


def stored_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a run's config holds, by name; those it lacks had their neutral value."""
    options = options_of(command_of(config))
    return {name: config.get(name, option.neutral) for name, option in options.items()}


def objective_of(config: Mapping[str, Any]) -> str:
    """The metric that picked the best checkpoint of a run, by its config."""
    return Settings.build(command_of(config), stored_values(config)).task.objective


def command_line(command: str, values: Mapping[str, Any]) -> str:
    """``python train.py COMMAND`` with the options of the identity that are not the default."""
    words = ["python", "train.py", command]
    for name, known in options_of(command).items():
        value = values.get(name)
        given = value is not None and value != known.default
        if known.identity and given and known.has_effect(values):
            words.append(f"{flag(name)}={value}")
    return shlex.join(words)
