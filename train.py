"""convtune: train, sweep, compare and use small convolutional networks. Try --help."""

from __future__ import annotations

import click

from cli.group import LazyGroup

COMMANDS = {
    "resconv": ("cli.train:resconv", "Train a net that restores erased image halves."),
    "classify": ("cli.train:classify", "Train a classifier, full or channel selection."),
    "sweep": ("cli.sweep:sweep", "Run every point of a sweep file, each exactly once."),
    "compare": ("cli.compare:compare", "Compare runs in the logbook's table."),
    "report": ("cli.compare:report", "Share runs as a W&B report or a single HTML page."),
    "predict": ("cli.predict_command:predict", "Label a folder of images with a trained net."),
    "rerun": ("cli.rerun_command:rerun", "Train a run again: do its numbers come back?"),
    "restore": ("cli.restore_command:restore", "Restore images with a trained net."),
    "sync": ("cli.sync:sync", "Upload runs that were tracked offline."),
    "bench": ("cli.bench:bench", "Measure speed on this machine."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, help=__doc__)
def main() -> None:
    """The front door: each command parses its settings and calls the room that does the work."""


if __name__ == "__main__":
    main()
