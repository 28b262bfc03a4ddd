"""convtune: train, sweep, compare and use small convolutional networks. Try --help."""

from __future__ import annotations

import click

from cli.group import LazyGroup

COMMANDS = {
    "resconv": ("cli.train_commands:resconv", "Train a net that restores erased image halves."),
    "sweep": ("cli.sweep_command:sweep", "Run every point of a sweep file, each exactly once."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, help=__doc__)
def main() -> None:
    """The front door: each command parses its settings and calls the room that does the work."""


if __name__ == "__main__":
    main()
