"""The command group: subcommands imported only when called, errors shown as one line."""

import io
import os
import re
import sys
from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

import click

from common.errors import InputError, RunError, one_of


class LazyGroup(click.Group):
    """Commands given as ``{name: ("module:attribute", "help")}``, imported on use.

    An attribute that is a function makes the command from its name. Wrong input ends in one line
    on stderr and exit code 2, a failed run in one line and exit code 1.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        found = resolve_name(self.lazy[cmd_name][0])
        return found if isinstance(found, click.Command) else found(cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.lazy:
            raise InputError(f"{args[0]}: no such command, {one_of(args[0], self.lazy)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            rows = [(name, text.strip().splitlines()[0]) for name, (_, text) in self.lazy.items()]
            formatter.write_dl(rows)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _replace_unencodable()
        given = args[0] if args else sys.argv[1:]
        try:
            given = command_first(_expand_home(given))
            code = super().main(given, standalone_mode=False, **kwargs)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help())
            sys.exit(0)
        except click.ClickException as error:
            # One line on stderr, whatever line breaks the message holds.
            click.echo("Error: " + " ".join(error.format_message().split()), err=True)
            sys.exit(1 if isinstance(error, RunError) else 2)
        except click.Abort:
            sys.exit(130)
        sys.exit(code if isinstance(code, int) else 0)


def command_first(arguments: list[str]) -> list[str]:
    """``--lr=1 --command=unet``, from a sweep over commands, as ``unet --lr=1``."""
    named = [text for text in arguments if text.startswith("--command=")]
    if len(named) != 1 or not arguments[0].startswith("--"):
        return arguments
    return [named[0].partition("=")[2], *(text for text in arguments if text not in named)]


def _expand_home(arguments: Sequence[str]) -> list[str]:
    """``--out=~/x`` as the shell expands ``--out ~/x``."""
    return [
        re.sub(r"^(--[\w-]+=)(~[\w-]*(?=/|$))", lambda m: m[1] + os.path.expanduser(m[2]), text)
        for text in arguments
    ]


def _replace_unencodable() -> None:
    """Print ``?`` for what the terminal cannot show, so that no name in a message ends a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
