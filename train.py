"""convtune: train, sweep, compare and use small convolutional networks."""

import click

from cli.group import LazyGroup
from models.registry import NETS

COMMANDS = {name: ("cli.train:train_command", net.settings.__doc__) for name, net in NETS.items()}
COMMANDS |= {
    "sweep": ("cli.sweep:sweep", "Run every point of a sweep file, each exactly once."),
    "compare": ("cli.compare:compare", "Compare runs in the logbook's table."),
    "report": ("cli.compare:report", "Share runs as a W&B report or a single HTML page."),
    "export": ("cli.use:export", "Write runs for TensorBoard, or a net for other programs."),
    "predict": ("cli.use:predict", "Label a folder of images with a trained net."),
    "rerun": ("cli.use:rerun", "Retrain a run and check that its metrics reproduce."),
    "restore": ("cli.use:restore", "Restore images with a trained net."),
    "sync": ("cli.use:sync", "Upload runs to a W&B server."),
    "bench": ("cli.bench:bench", "Measure speed on this machine."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, help=__doc__)
def main() -> None:
    """Command-line entry point."""


if __name__ == "__main__":
    main()
