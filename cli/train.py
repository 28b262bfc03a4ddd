"""One training command for each registered net."""

import json
import os

from cli.options import SettingsCommand, settings_command
from experiment.settings import Settings


def train_command(name: str) -> SettingsCommand:
    """The command that trains the net ``name``."""
    return settings_command(name, _train)


def _train(settings: Settings) -> int:
    from experiment.identity import identity
    from experiment.run import run

    sweep = json.loads(os.environ.get("CONVTUNE_SWEEP", "null"))  # of an agent's command
    about = {"sweep": sweep | {"point": identity(settings)}} if sweep else None
    return run(settings, extra_config=about).exit_code
