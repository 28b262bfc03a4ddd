"""Options of the two tasks."""

from dataclasses import dataclass
from typing import ClassVar

from common.errors import InputError
from common.options import Boolean, Choice, Integer, OptionGroup, Real, option
from data.settings import DataSettings
from tasks.registry import CORRUPTIONS, CorruptionName


@dataclass(frozen=True, kw_only=True)
class RestorationSettings(OptionGroup):
    """Damage to the images, inputs of the net, and training loss (logbook A)."""

    section: ClassVar[str] = "Task"

    corruption: str = option(
        "half",
        CorruptionName(),
        "Damage done to the images, such as "
        + ", ".join(f"{entry.example} ({entry.what})" for entry in CORRUPTIONS.values())
        + ".",
    )
    mask_input: bool = option(
        False, Boolean(), "Give the net the mask of damaged pixels as an input channel."
    )
    coordinates: bool = option(
        False, Boolean(), "Give the net each pixel's row and column as two input channels."
    )
    loss: str = option(
        "l1",
        Choice(("l1", "l2"), {"mae": "l1", "mse": "l2"}),
        "Training loss: mean absolute or mean squared error.",
        section="Training",
    )
    loss_region: str = option(
        "whole",
        Choice(("whole", "corrupted")),
        "Pixels that the training loss counts: the whole image or the damaged part.",
        section="Training",
    )
    composite: bool = option(
        False,
        Boolean(),
        "Copy undamaged pixels from the input; train and pick the best net on the result.",
    )

    @property
    def objective(self) -> str:
        """The metric that picks the best checkpoint."""
        return "val/l1_composite" if self.composite else "val/l1"

    def validate(self, data: DataSettings) -> None:
        """No option depends on the data."""


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(OptionGroup):
    """Augmentation, loss and evaluation of a classifier (logbook B)."""

    section: ClassVar[str] = "Augmentation"

    flip: bool = option(True, Boolean(), "Mirror half of the images.")
    shift: int = option(
        4, Integer(0, 64), "Move images by up to N pixels, filled with grey; 0 is off."
    )
    cutout: int = option(0, Integer(0, 512), "Erase a square of N x N pixels; 0 is off.")
    label_smoothing: float = option(
        0.0,
        Real(0, 0.9, example="0.1"),
        "Share of each training label spread over all classes; 0 is off.",
        section="Training",
    )
    mirror_eval: bool = option(
        False,
        Boolean(),
        "Validate and test on the mean output for each image and its mirror image.",
        section="Data",
    )

    @property
    def objective(self) -> str:
        return "val/accuracy"

    def validate(self, data: DataSettings) -> None:
        """Check that an augmentation leaves something of an image. Raises ``InputError``."""
        side = min(data.height_width)
        for name in ("shift", "cutout"):
            if getattr(self, name) >= side:
                raise InputError(
                    f"--{name} {getattr(self, name)}: must be below the image size ({side} "
                    f"pixels), for example --{name} {side // 8}"
                )
