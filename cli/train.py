"""One training command for each registered net."""

from __future__ import annotations

from cli.options import SettingsCommand, settings_command
from experiment.settings import Settings


def train_command(name: str) -> SettingsCommand:
    """The command that trains the net ``name``."""
    return settings_command(name, _train)


def _train(settings: Settings) -> int:
    from experiment.run import run

    return run(settings).exit_code
