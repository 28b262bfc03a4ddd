"""Every setting of a run, once: the command line, the help, the defaults and ``run.config``.

A field of a settings class is an option of its command (``batch_size`` is ``--batch-size``).
Nothing heavy is imported here: ``--help`` and wrong input are answered without torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from common.errors import InputError, nearest
from common.options import (
    Boolean,
    Choice,
    Integer,
    Interval,
    PerLayer,
    Real,
    Size,
    Text,
    Words,
)
from models.names import BN_POSITIONS
from models.per_layer import channels_per_layer, kernels_per_layer

MIN_SIZE = 11  # pixels: the window of the SSIM metric
ACTIVATIONS = (
    "gelu", "mish", "silu", "hardswish", "leakyrelu", "relu6", "relu", "prelu", "softplus",
    "logsigmoid", "celu", "tanh", "rrelu", "hardtanh", "softsign", "selu", "sigmoid",
    "hardsigmoid", "softshrink", "hardshrink", "tanhshrink",
)  # fmt: skip
_BN = Choice(BN_POSITIONS, {"0": "before", "1": "after-conv", "2": "after-act", "-": "none"})
BOOLEAN = Boolean()


def option(default: Any, read: Callable[[str, Any], Any], group: str, help: str) -> Any:
    """A dataclass field that is also a command-line option."""
    return field(default=default, metadata={"read": read, "group": group, "help": help})


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every training command has: data, training, hardware, run and tracking options."""

    task: ClassVar[str]
    objective: ClassVar[str]  # the metric that picks the best checkpoint
    goal: ClassVar[str]  # "minimize" or "maximize"

    data: str = option(
        "auto", Text(), "Data",
        "Data set: auto, fashion-mnist, dog-cat-bird, cifar10, garments (built in, drawn) or a "
        "folder of images (see README). auto takes the real one if its files are on this machine, "
        "else garments, and says so loudly; it never downloads.",
    )
    data_root: str | None = option(
        None, Text(optional=True), "Data",
        "Folder to look in first for the data set's files (torchvision's layout or the bare "
        "files).",
    )
    size: int | str = option(
        28, Size(MIN_SIZE), "Data",
        "Image size in pixels, N or HEIGHTxWIDTH; enlarging is nearest-neighbour.",
    )
    train_images: int | None = option(
        None, Integer(2, optional=True), "Data", "Use only the first N training images."
    )
    val_images: int | None = option(
        None, Integer(1, optional=True), "Data", "Use only the first N validation images."
    )

    epochs: int = option(3, Integer(1), "Training", "Passes over the training images.")
    images: int | None = option(
        None, Integer(1, optional=True), "Training",
        "Total budget in training images; overrides --epochs, rounded down to whole steps.",
    )
    batch_size: int = option(64, Integer(1), "Training", "Images a step (over all processes).")
    lr: float = option(
        3e-4, Real(0, above=True, example="0.0003"), "Training", "Highest learning rate."
    )
    weight_decay: float = option(0.01, Real(0, example="0.01"), "Training", "Weight decay.")
    optimizer: str = option(
        "adamw", Choice(("adamw", "adam", "sgd")), "Training",
        "Optimizer; sgd has Nesterov momentum 0.9.",
    )
    scheduler: str = option(
        "cosine", Choice(("cosine", "onecycle", "constant")), "Training",
        "Learning rate over the steps: cosine to zero, one-cycle (up for 30 %), or constant.",
    )
    seed: int = option(0, Integer(0, 2**31 - 1), "Training", "Seed of weights, order and draws.")

    device: str = option(
        "auto", Text(), "Hardware", "auto, cpu, cuda or cuda:N; auto takes CUDA if there is one."
    )
    precision: str = option(
        "auto", Choice(("auto", "fp32", "bf16")), "Hardware",
        "Arithmetic of the layers; auto takes bf16 where the processor computes in it, else fp32 "
        "(TF32 on CUDA).",
    )
    compile: bool = option(
        False, BOOLEAN, "Hardware", "Compile the network with torch.compile (first step is slow)."
    )
    deterministic: bool = option(
        False, BOOLEAN, "Hardware",
        "Only algorithms that give the same bits each time (on CUDA slower); channel selection "
        "then takes its way by rule, not by speed.",
    )
    checkpoint_activations: bool = option(
        False, BOOLEAN, "Hardware",
        "Recompute activations in the backward pass: less memory, about a quarter more time.",
    )

    checkpoint_every: int | str | None = option(
        None, Interval(), "Run",
        "Save last.pt every so many images (20000) or minutes (10m), besides each validation.",
    )
    resume: str | None = option(
        None, Text(optional=True), "Run",
        "Continue a run: its folder, its id, or auto (the unfinished run of this very command).",
    )
    runs_dir: str = option("runs", Text(), "Run", "Where run folders are made.")

    project: str | None = option(
        None, Text(optional=True), "Tracking", "W&B project [WANDB_PROJECT, else convtune]."
    )
    entity: str | None = option(
        None, Text(optional=True), "Tracking", "W&B entity (team or user) [WANDB_ENTITY]."
    )
    group: str | None = option(
        None, Text(optional=True), "Tracking", "W&B group [WANDB_RUN_GROUP]."
    )
    name: str | None = option(
        None, Text(optional=True), "Tracking", "Run name; by default made from the settings."
    )
    tags: tuple[str, ...] = option((), Words(), "Tracking", "W&B tags.")
    mode: str | None = option(
        None, Choice(("online", "offline", "disabled"), optional=True), "Tracking",
        "W&B mode [WANDB_MODE, else online with an API key and offline without].",
    )
    log_every: int = option(
        25, Integer(1), "Tracking", "Steps between two rows of training metrics."
    )

    @property
    def height_width(self) -> tuple[int, int]:
        """The image size as (height, width) in pixels."""
        height, _, width = str(self.size).partition("x")
        return int(height), int(width or height)

    def validate(self) -> None:
        """Check what single readers cannot see; raises ``InputError``."""
        if self.images is not None and self.images < self.batch_size:
            raise InputError(
                f"--images {self.images}: must be at least one step of --batch-size "
                f"{self.batch_size}, for example --images {self.batch_size} or a smaller "
                "--batch-size"
            )

    def to_config(self) -> dict[str, Any]:
        """All settings as plain values, for ``run.config``, YAML and checkpoints."""
        return asdict(self) | {"tags": list(self.tags)}

    def deciding(self) -> dict[str, Any]:
        """Every setting that can change the numbers.

        Tracking, run folder, resume, device and where files lie are left out, so the same
        experiment is the same on another machine.
        """
        kept = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.metadata["group"] not in ("Tracking", "Run")
            and f.name not in ("data_root", "device")
        }
        if kept.get("conv") == "full":
            del kept["rank"]  # only a channel selection has one
        return kept

    def fingerprint(self) -> str:
        """12 hex digits over ``deciding``."""
        text = json.dumps({"task": self.task} | self.deciding(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def default_name(self) -> str:
        """A short run name from the settings that matter most."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ResConvSettings(RunSettings):
    """Restore the erased half of an image (logbook A, ResConv)."""

    task: ClassVar[str] = "resconv"
    objective: ClassVar[str] = "val/l1"
    goal: ClassVar[str] = "minimize"

    layers: int = option(
        11, Integer(1, 200), "Model", "Encoder layers; the decoder mirrors them."
    )
    ks: int | str = option(
        3, PerLayer(), "Model",
        "Kernel size, odd: N, a range A:B over the layers (made odd), or one value a layer.",
    )
    ch: int | str = option(
        32, PerLayer(), "Model", "Channels: N, a range A:B over the layers, or one value a layer."
    )
    residual_weight: float = option(
        1.0, Real(0, example="1.0"), "Model",
        "Weight of the encoder outputs added to the decoder's inputs.",
    )
    bn_encoder: str = option(
        "before", _BN, "Model",
        "Batch norm in the encoder: before the conv, after-conv, after-act or none (logbook: 0, "
        "1, 2, -).",
    )
    bn_decoder: str = option("before", _BN, "Model", "Batch norm in the decoder, likewise.")
    bn_last: bool = option(
        False, BOOLEAN, "Model", "Batch norm also in the last encoder and the last decoder layer."
    )
    act: str = option(
        "gelu", Choice(ACTIVATIONS), "Model",
        f"Activation, any case: {', '.join(ACTIVATIONS)}.",
    )
    stride: int = option(1, Integer(1, 8), "Model", "Stride of every conv.")
    padding: int | None = option(
        None, Integer(0, optional=True), "Model",
        "Padding of every conv, below its kernel size [default: same, half the kernel].",
    )
    groups: int = option(
        1, Integer(1), "Model", "Conv groups; the first and the last conv stay ungrouped."
    )
    conv: str = option(
        "full", Choice(("full", "select")), "Model",
        "Kind of conv between the first and the last: full or channel selection (BSConv-U).",
    )
    rank: int = option(
        1, Integer(1), "Model", "Selections and kernels per output channel (--conv select)."
    )
    loss: str = option(
        "l1", Choice(("l1", "l2"), {"mae": "l1", "mse": "l2"}), "Training",
        "Training loss over the whole image: mean absolute or mean squared error.",
    )

    def validate(self) -> None:
        """Raises ``InputError`` for settings that do not make a net together."""
        super().validate()
        kernels = kernels_per_layer(self.ks, self.layers)
        channels = channels_per_layer(self.ch, self.layers)
        if self.padding is not None and self.padding >= min(kernels):
            raise InputError(
                f"--padding {self.padding}: must be below every kernel size "
                f"(the smallest is {min(kernels)}), for example --padding {min(kernels) // 2}"
            )
        odd_one = next((c for c in channels if c % self.groups), None)
        if odd_one is not None:
            raise InputError(
                f"--groups {self.groups}: must divide every layer's channels ({odd_one} is not a "
                f"multiple), for example --groups 1 or --ch {self.groups * 8}"
            )
        if self.conv == "select" and self.groups > 1:
            raise InputError(
                "--groups with --conv select: a channel selection is not grouped; use --groups 1 "
                "or --conv full"
            )
        if self.conv == "select" and self.rank > min(kernels) ** 2:
            raise InputError(
                f"--rank {self.rank}: must be at most kernel size squared "
                f"({min(kernels) ** 2} here), for example --rank 1"
            )
        self._check_size(kernels)

    def _check_size(self, kernels: list[int]) -> None:
        for size in self.height_width:
            left = size
            for number, k in enumerate(kernels, 1):
                pad = k // 2 if self.padding is None else self.padding
                left = (left + 2 * pad - k) // self.stride + 1
                if left < 1:
                    raise InputError(
                        f"--size {self.size}: too small, nothing is left after layer {number} "
                        f"of {self.layers} (stride {self.stride}, padding {pad}, kernel {k}); "
                        "use a larger --size, fewer --layers, --stride 1 or the default padding"
                    )

    def default_name(self) -> str:
        """For example ``resconv-l11-k3-9-c32``, then what else of the net is no default."""
        parts = [f"resconv-l{self.layers}", f"k{self.ks}", f"c{self.ch}"]
        if self.conv == "select":
            parts.append(f"select{self.rank}")
        named = ("layers", "ks", "ch", "conv", "rank")
        for f in fields(self):
            value = getattr(self, f.name)
            rest = f.metadata["group"] == "Model" and f.name not in named
            if (rest or f.name == "size") and value != f.default:
                parts.append(f"{f.name.replace('_', '')}{value}")
        return "-".join(parts).replace(":", "-").replace(",", "_").lower()[:64]


@dataclass(frozen=True, kw_only=True)
class ClassifySettings(RunSettings):
    """Classify images with full or channel-selection convs (logbook B)."""

    task: ClassVar[str] = "classify"
    objective: ClassVar[str] = "val/accuracy"
    goal: ClassVar[str] = "maximize"

    size: int | str = option(
        32, Size(MIN_SIZE), "Data",
        "Image size in pixels, N or HEIGHTxWIDTH; enlarging is nearest-neighbour.",
    )
    model: str = option(
        "small", Text(), "Model",
        "The logbook's small ResNet, or any torchvision classifier by name, such as resnet18.",
    )
    conv: str = option(
        "select", Choice(("full", "select")), "Model",
        "Kind of conv: full (ordinary Conv2d) or channel selection (BSConv-U).",
    )
    rank: int = option(
        1, Integer(1), "Model", "Selections and kernels per output channel (--conv select)."
    )
    dropout: float = option(
        0.2, Real(0, 0.95, example="0.2"), "Model", "Dropout before the last layer (small only)."
    )
    flip: bool = option(True, BOOLEAN, "Augmentation", "Mirror half of the images.")
    shift: int = option(
        4, Integer(0, 64), "Augmentation", "Move images by up to N pixels, grey around; 0 is off."
    )
    cutout: int = option(
        0, Integer(0, 512), "Augmentation", "Erase a square of N x N pixels; 0 is off."
    )
    label_smoothing: float = option(
        0.0, Real(0, 0.9, example="0.1"), "Training",
        "Share of each training label spread over all classes; 0 is off.",
    )
    mirror_eval: bool = option(
        False, BOOLEAN, "Data",
        "Validate and test on the mean output for each image and its mirror image.",
    )

    def validate(self) -> None:
        """Raises ``InputError`` also for an augmentation that leaves nothing of an image."""
        super().validate()
        side = min(self.height_width)
        for name in ("shift", "cutout"):
            if getattr(self, name) >= side:
                raise InputError(
                    f"--{name} {getattr(self, name)}: must be below the image size ({side} "
                    f"pixels), for example --{name} {side // 8}"
                )

    def default_name(self) -> str:
        """For example ``classify-small-select1``."""
        conv = f"select{self.rank}" if self.conv == "select" else "full"
        return f"classify-{self.model}-{conv}"[:64]


SETTINGS: dict[str, type[RunSettings]] = {c.task: c for c in (ResConvSettings, ClassifySettings)}


def settings_from(task: str, values: Mapping[str, Any]) -> RunSettings:
    """Settings of ``task`` from options given by name, typed or as text.

    Hyphens and underscores in names mean the same. Raises ``InputError`` for an unknown task or
    option (with the nearest name), a value that cannot be read, or values that do not fit.
    """
    if task not in SETTINGS:
        raise InputError(f"task {task}: must be one of {', '.join(SETTINGS)}")
    cls = SETTINGS[task]
    known = {f.name: f for f in fields(cls)}
    read: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise InputError(
                f"{key}: not an option of {task}.{nearest(name, known)} "
                f"See python train.py {task} --help"
            )
        read[name] = known[name].metadata["read"](name, value)
    settings = cls(**read)
    # A grid may cross rank with both convs; a rank without --conv is a forgotten --conv select.
    if read.get("rank", 1) != 1 and "conv" not in read and settings.conv == "full":
        raise InputError(
            f"--rank {read['rank']}: only channel selections have a rank, for example "
            f"--conv select --rank {read['rank']}"
        )
    settings.validate()
    return settings
