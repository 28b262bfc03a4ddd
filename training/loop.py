"""The training loop, shared by every task and every rank."""

from typing import Protocol

from training.base import BaseTrainer, Row


class Recorder(Protocol):
    """Where rows go. Ranks above 0 have ``NullRecorder``."""

    def row(self, row: Row, trainer: BaseTrainer) -> None:
        """Record a row: CSV, W&B, display; at a validation also examples and checkpoints."""

    def after_step(self, trainer: BaseTrainer) -> None:
        """Show progress now and then, and save where a save between validations is due."""


class StopFlag(Protocol):
    """Whether a stop was requested, by a signal, pruning, a limit or a supervisor."""

    @property
    def requested(self) -> bool: ...


class NullRecorder(Recorder):
    """Records nothing."""


def train(trainer: BaseTrainer, recorder: Recorder, stop: StopFlag) -> bool:
    """Train to the last step or until a stop is requested. Returns whether it is complete.

    Raises ``NonFiniteLoss`` at the end of the interval in which the loss became NaN or infinite.
    """
    trainer.net.train()
    while trainer.step < trainer.steps:
        trainer.train_step()
        if trainer.at_validation or trainer.at_log_interval:
            row = trainer.read_row()  # the only host-device sync
            if trainer.at_validation:
                row |= trainer.validate()
            recorder.row(row, trainer)
        recorder.after_step(trainer)
        if trainer.ranks.agree(stop.requested):
            trainer.timer.stop()
            break
    return trainer.step == trainer.steps
