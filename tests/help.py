"""The output of every --help as one text; ``python -m tests.help`` rewrites docs/help.txt."""

from __future__ import annotations

from pathlib import Path

import click

FILE = Path(__file__).resolve().parent.parent / "docs" / "help.txt"


def every_help() -> str:
    """``--help`` of the program and of each command, 100 columns wide."""
    from train import main

    parts = []

    def add(command: click.Command, words: list[str], parent: click.Context | None) -> None:
        context = click.Context(
            command, info_name=words[-1], parent=parent, terminal_width=100, max_content_width=100
        )
        parts.append(f"$ python {' '.join(words)} --help\n{command.get_help(context)}\n")
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                subcommand = command.get_command(context, name)
                if subcommand is not None:
                    add(subcommand, [*words, name], context)

    add(main, ["train.py"], None)
    return "\n".join(parts)


if __name__ == "__main__":
    FILE.write_text(every_help(), encoding="utf-8")
