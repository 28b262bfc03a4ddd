"""One training command for each registered net, its options from the settings groups."""

import inspect
import json
import os
from functools import partial
from typing import Any

import click

from common.options import Boolean, Option, flag
from experiment.settings import Settings, groups_of, options_of
from models.registry import NETS


class SettingsCommand(click.Command):
    """A command whose options are those of ``options_of(name)``.

    Options take underscores as well as hyphens. A boolean takes ``--x``, ``--no-x`` and
    ``--x=True`` (the form of W&B's agent).
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = options_of(self.name or "")
        booleans = {flag(n) for n, option in options.items() if isinstance(option.read, Boolean)}
        return super().parse_args(ctx, [_normalise_argument(arg, booleans) for arg in args])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        fitted = NETS[self.name or ""].fitted
        sections: dict[str, list[tuple[str, str]]] = {}
        for option in options_of(self.name or "").values():
            # A net fitted in one step takes the others too: sweeps cross it with trained nets.
            if option.section != "Training" or option.name == "seed" or not fitted:
                sections.setdefault(option.section, []).append(_help_row(option))
        sections["Other"] = [("--help", "Show this message.")]
        for section, rows in sections.items():
            with formatter.section(f"{section} options"):
                formatter.write_dl(rows, col_max=26)


def _normalise_argument(arg: str, booleans: set[str]) -> str:
    """``--batch_size=8`` as ``--batch-size=8``; ``--no-x`` as ``--x=False``."""
    if not arg.startswith("--"):
        return arg
    option, equals, value = arg.partition("=")
    option = flag(option[2:])
    if not equals and option in booleans:
        return f"{option}=True"
    if not equals and option.startswith("--no-") and "--" + option[5:] in booleans:
        return f"--{option[5:]}=False"
    return option + equals + value


def _help_row(option: Option) -> tuple[str, str]:
    name = flag(option.name)
    if isinstance(option.read, Boolean):
        usage = f"{name} / --no-{name[2:]}"
    else:
        usage = f"{name} {getattr(option.read, 'metavar', 'NAME')}"
    text = option.help
    choices = getattr(option.read, "names", ())
    if choices and not any(choice in text for choice in choices[1:2]):
        text += f" One of: {', '.join(choices)}."
    shown = option.default not in (None, ()) and "[default" not in text
    return usage, f"{text} [default: {option.default}]" if shown else text


def train_command(name: str) -> SettingsCommand:
    """The command that trains the net ``name``."""
    # Values stay text: Settings.parse reads them.
    options: list[click.Parameter] = [
        click.Option([flag(o)], type=click.UNPROCESSED) for o in options_of(name)
    ]
    help_text = inspect.getdoc(groups_of(name)["net"])
    return SettingsCommand(name, callback=partial(_train, name), params=options, help=help_text)


def _train(command: str, /, **given: Any) -> int:
    given = {k: v for k, v in given.items() if v is not None}
    if "resume" in given:
        from experiment.resume import merge_stored_settings

        given = merge_stored_settings(command, given)
    settings = Settings.parse(command, given)
    from experiment.identity import identity
    from experiment.run import run

    sweep = json.loads(os.environ.get("CONVTUNE_SWEEP", "null"))  # of an agent's command
    about = {"sweep": sweep | {"point": identity(settings)}} if sweep else None
    return run(settings, extra_config=about).exit_code
