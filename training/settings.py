"""Options of the training loop and of the hardware it runs on."""

from dataclasses import dataclass
from typing import ClassVar

from common.errors import InputError
from common.options import Boolean, Choice, Integer, OptionGroup, Real, Text, option


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(OptionGroup):
    """Budget, optimizer, schedule and seed."""

    section: ClassVar[str] = "Training"

    epochs: int = option(3, Integer(1), "Passes over the training images.")
    images: int | None = option(
        None,
        Integer(1, optional=True),
        "Total budget in training images; overrides --epochs, rounded down to whole steps.",
    )
    minutes: float | None = option(
        None,
        Real(0, above=True, example="10", optional=True),
        "Budget in minutes of steps and validations, over all restarts; the schedule follows the "
        "measured speed. --images or --epochs is the first guess.",
    )
    batch_size: int = option(64, Integer(1), "Images a step (over all processes).")
    lr: float = option(3e-4, Real(0, above=True, example="0.0003"), "Highest learning rate.")
    weight_decay: float = option(0.01, Real(0, example="0.01"), "Weight decay.")
    decay: str = option(
        "all",
        Choice(("all", "weights")),
        "Parameters that weight decay acts on: all, as in the logbooks, or only the weights of "
        "convs and linear layers (no biases, norms, PReLU slopes or scales).",
    )
    clip_norm: float = option(
        0.0,
        Real(0, example="1.0"),
        "Scale a gradient with a larger norm down to this norm; 0 for no clipping.",
    )
    optimizer: str = option(
        "adamw",
        Choice(("adamw", "adam", "sgd", "muon")),
        "Optimizer; sgd has Nesterov momentum 0.9; muon updates the convs' kernels, at --muon-lr, "
        "and adamw the rest.",
    )
    muon_lr: float = option(
        0.02,
        Real(0, above=True, example="0.02"),
        "Highest learning rate of the kernels with --optimizer muon.",
        only_if=("optimizer", "muon"),
    )
    scheduler: str = option(
        "cosine",
        Choice(("cosine", "onecycle", "wsd", "constant")),
        "Learning rate over the steps: cosine to zero, one-cycle (up for 30 %), wsd (up for 5 %, "
        "constant, down to zero over the last --fall), or constant.",
    )
    fall: float = option(
        0.4,
        Real(0, 1, above=True, example="0.4"),
        "Share of the steps over which the rate of --scheduler wsd falls to zero.",
        only_if=("scheduler", "wsd"),
    )
    seed: int = option(
        0, Integer(0, 2**31 - 1), "Random seed (initialisation, data order, augmentation)."
    )

    def validate(self) -> None:
        """Check the budget against the batch size. Raises ``InputError``."""
        if self.images is not None and self.images < self.batch_size:
            raise InputError(
                f"--images {self.images}: must be at least one step of --batch-size "
                f"{self.batch_size}, for example --images {self.batch_size} or a smaller "
                "--batch-size"
            )

    def total_images(self, train_images: int) -> int:
        """The budget in images for a data set of ``train_images``, before whole steps."""
        return self.images or self.epochs * train_images


@dataclass(frozen=True, kw_only=True)
class HardwareSettings(OptionGroup):
    """Device and arithmetic."""

    section: ClassVar[str] = "Hardware"

    device: str = option(
        "auto",
        Text(),
        "auto, cpu, cuda or cuda:N; auto takes CUDA if there is one.",
        identity=False,
    )
    precision: str = option(
        "auto",
        Choice(("auto", "fp32", "bf16")),
        "Arithmetic of the layers; auto takes bf16 where the processor has it, unless a short "
        "trial finds it slower or wrong, else fp32 (TF32 on CUDA).",
    )
    compile: bool = option(
        False, Boolean(), "Compile the network with torch.compile (first step is slow)."
    )
    cuda_graphs: bool = option(
        True,
        Boolean(),
        "On CUDA replay recorded forward and backward passes: the same results, less waiting. Not "
        "with --compile or torchrun.",
        identity=False,
    )
    deterministic: bool = option(
        False,
        Boolean(),
        "Only algorithms that give the same bits each time (slower on CUDA).",
    )
