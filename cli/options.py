"""A settings class to the options of a Click command, with help grouped by purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any

import click

from common.options import Boolean, flag
from experiment.settings import RunSettings, settings_from


class Value(click.ParamType):
    """Passes text on unread: ``settings_from`` reads every value in one place."""

    def __init__(self, metavar: str) -> None:
        self.name = metavar

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return value


class SettingsCommand(click.Command):
    """A command whose options are the fields of ``settings_class``.

    Options take underscores as well as hyphens. A boolean takes ``--x``, ``--no-x`` and
    ``--x=True`` (the form of W&B's agent).
    """

    settings_class: type[RunSettings]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [self._spelled_out(arg) for arg in args])

    def _spelled_out(self, arg: str) -> str:
        if not arg.startswith("--"):
            return arg
        option, equals, value = arg.partition("=")
        option = flag(option[2:])
        booleans = {flag(f.name) for f in fields(self.settings_class) if _is_boolean(f)}
        if not equals and option in booleans:
            return f"{option}=True"
        if not equals and option.startswith("--no-") and "--" + option[5:] in booleans:
            return f"--{option[5:]}=False"
        return option + equals + value

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for field in fields(self.settings_class):
            groups.setdefault(field.metadata["group"], []).append(_help_row(field))
        order = sorted(groups, key=lambda group: group != "Model")
        for group in order:
            with formatter.section(f"{group} options"):
                formatter.write_dl(groups[group], col_max=26)
        with formatter.section("Other options"):
            formatter.write_dl([("--help", "Show this message.")], col_max=26)


def _is_boolean(field: Field) -> bool:
    return isinstance(field.metadata["read"], Boolean)


def _help_row(field: Field) -> tuple[str, str]:
    name = flag(field.name)
    if _is_boolean(field):
        usage = f"{name} / --no-{name[2:]}"
    else:
        usage = f"{name} {getattr(field.metadata['read'], 'metavar', None) or 'NAME'}"
    text = field.metadata["help"]
    choices = getattr(field.metadata["read"], "names", ())
    if choices and not any(choice in text for choice in choices[1:2]):
        text += f" One of: {', '.join(choices)}."
    shown = field.default not in (None, ()) and "[default" not in text
    return usage, f"{text} [default: {field.default}]" if shown else text


def settings_command(
    settings_class: type[RunSettings], **attributes: Any
) -> Callable[[Callable[[RunSettings], int]], click.Command]:
    """Decorator: a function of the settings becomes a command with an option for each field."""

    def decorate(function: Callable[[RunSettings], int]) -> click.Command:
        def call(**given: Any) -> int:
            if given.get("resume") is not None:
                from experiment.resume import with_stored

                given = with_stored(settings_class.task, given)
            return function(settings_from(settings_class.task, given))

        options = [
            click.Option([flag(f.name)], type=Value(f.name), default=None)
            for f in fields(settings_class)
        ]
        command = SettingsCommand(
            settings_class.task,
            callback=lambda **kw: call(**{k: v for k, v in kw.items() if v is not None}),
            params=list(options),
            help=function.__doc__,
            **attributes,
        )
        command.settings_class = settings_class
        return command

    return decorate
