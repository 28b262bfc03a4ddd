"""The nets by command name, with their options. Torch-free: a net is imported when it is built.

To add a net, write its module and its settings class here under one ``@net`` line.
"""

from dataclasses import dataclass
from typing import ClassVar

from common.errors import InputError
from common.options import Boolean, Choice, Integer, Odd, PerLayer, Real, Text, option
from models.net_entry import NETS, NetEntry, NetSettings, command_of, net, per_layer
from models.per_layer import channels_per_layer, kernels_per_layer

__all__ = ["ACTIVATIONS", "BN_POSITIONS", "NETS", "NetEntry", "NetSettings", "command_of"]

# Class names of torch.nn in lower case.
ACTIVATIONS = (
    "gelu", "mish", "silu", "hardswish", "leakyrelu", "relu6", "relu", "prelu", "softplus",
    "logsigmoid", "celu", "tanh", "rrelu", "hardtanh", "softsign", "selu", "sigmoid",
    "hardsigmoid", "softshrink", "hardshrink", "tanhshrink",
)  # fmt: skip
BN_POSITIONS = ("before", "after-conv", "after-act", "none")
_BN = Choice(BN_POSITIONS, {"0": "before", "1": "after-conv", "2": "after-act", "-": "none"})
_CONV = Choice(("full", "select"))
_CONV_HELP = "Kind of 3x3 conv: full or channel selection (BSConv-U)."
_RANK_HELP = "Selections and kernels per output channel (--conv select)."
_WIDTH_HELP = "Channels at full resolution."
_FAST = {"lr": 3e-3, "scheduler": "onecycle", "composite": True}
_MUON = _FAST | {"optimizer": "muon", "muon_lr": 0.03, "scheduler": "wsd", "fall": 0.7}
_MASKED = {"mask_input": True, "composite": True}


@net("resconv", "models.resconv:ResConv", task="restoration")
@dataclass(frozen=True, kw_only=True)
class ResConvSettings(NetSettings):
    """Train a residual conv encoder/decoder that restores damaged images.

    Example: python train.py resconv --layers 11 --ks 3:9
    """

    name_prefixes: ClassVar[dict[str, str]] = {"layers": "l", "ks": "k", "ch": "c"}

    layers: int = option(11, Integer(1, 200), "Encoder layers; the decoder mirrors them.")
    ks: int | str = option(
        3,
        PerLayer(),
        "Kernel size, odd: N, a range A:B over the layers (made odd), or one value a layer.",
    )
    ch: int | str = option(
        32, PerLayer(), "Channels: N, a range A:B over the layers, or one value a layer."
    )
    residual_weight: float = option(
        1.0, Real(0, example="1.0"), "Weight of the encoder outputs added to the decoder's inputs."
    )
    bn_encoder: str = option(
        "before",
        _BN,
        "Batch norm in the encoder: before the conv, after-conv, after-act or none (logbook: 0, "
        "1, 2, -).",
    )
    bn_decoder: str = option("before", _BN, "Batch norm in the decoder, likewise.")
    bn_last: bool = option(
        False, Boolean(), "Batch norm also in the last encoder and the last decoder layer."
    )
    act: str = option(
        "gelu", Choice(ACTIVATIONS), f"Activation, any case: {', '.join(ACTIVATIONS)}."
    )
    stride: int = option(1, Integer(1, 8), "Stride of every conv.")
    padding: int | None = option(
        None,
        Integer(0, optional=True),
        "Padding of every conv, below its kernel size [default: same, half the kernel].",
    )
    groups: int = option(1, Integer(1), "Conv groups; the first and the last conv stay ungrouped.")
    conv: str = option(
        "full",
        _CONV,
        "Kind of conv between the first and the last: full or channel selection (BSConv-U).",
    )
    rank: int = option(1, Integer(1), _RANK_HELP, only_if=("conv", "select"))
    checkpoint_activations: bool = option(
        False,
        Boolean(),
        "Recompute activations in the backward pass: less memory, about a quarter more time.",
        section="Hardware",
    )

    def validate(self, size: tuple[int, int]) -> None:
        kernels = per_layer("ks", kernels_per_layer, self.ks, self.layers)
        channels = per_layer("ch", channels_per_layer, self.ch, self.layers)
        if self.padding is not None and self.padding >= min(kernels):
            raise InputError(
                f"--padding {self.padding}: must be below every kernel size "
                f"(the smallest is {min(kernels)}), for example --padding {min(kernels) // 2}"
            )
        indivisible = next((c for c in channels if c % self.groups), None)
        if indivisible is not None:
            raise InputError(
                f"--groups {self.groups}: must divide every layer's channels ({indivisible} is not "
                f"a multiple), for example --groups 1 or --ch {self.groups * 8}"
            )
        if self.conv == "select" and self.groups > 1:
            raise InputError(
                "--groups with --conv select: a channel selection is not grouped; use --groups 1 "
                "or --conv full"
            )
        if self.conv == "select":
            self.check_rank(self.rank, min(kernels[1:], default=self.rank))
        self._check_size(kernels, size)

    def _check_size(self, kernels: list[int], size: tuple[int, int]) -> None:
        for side in size:
            left = side
            for number, k in enumerate(kernels, 1):
                pad = k // 2 if self.padding is None else self.padding
                left = (left + 2 * pad - k) // self.stride + 1
                if left < 1:
                    raise InputError(
                        f"--size {side}: too small, nothing is left after layer {number} "
                        f"of {self.layers} (stride {self.stride}, padding {pad}, kernel {k}); "
                        "use a larger --size, fewer --layers, --stride 1 or the default padding"
                    )


@net("unet", "models.unet:UNet", task="restoration", defaults=_MUON, sized=True)
@dataclass(frozen=True, kw_only=True)
class UNetSettings(NetSettings):
    """Train a U-Net with attention at the smallest level (arXiv 1505.04597).

    Example: python train.py unet --data fashion-mnist --images 60000
    """

    name_prefixes: ClassVar[dict[str, str]] = {"width": "w"}

    width: int = option(32, Integer(2, 512), _WIDTH_HELP)
    conv: str = option("full", _CONV, _CONV_HELP)
    rank: int = option(1, Integer(1, 9), _RANK_HELP, only_if=("conv", "select"))
    mixer: bool = option(
        False, Boolean(), "Three MLPs over positions at the smallest level; one image size only."
    )


@net("rednet", "models.rednet:REDNet", task="restoration", defaults=_MUON)
@dataclass(frozen=True, kw_only=True)
class REDNetSettings(NetSettings):
    """Train RED-Net, convs and deconvs with a skip every second layer (arXiv 1606.08921).

    Example: python train.py rednet --layers 10
    """

    name_prefixes: ClassVar[dict[str, str]] = {"layers": "l", "width": "w"}

    # Version 2: initialised for ReLU; 20 layers of version 1 passed nothing on.
    layers: int = option(10, Integer(1, 100), "Convs; as many deconvs mirror them.", version=2)
    width: int = option(64, Integer(1, 1024), "Channels.")


@net("convnext", "models.convnext:ConvNeXt", task="restoration", defaults=_MUON)
@dataclass(frozen=True, kw_only=True)
class ConvNeXtSettings(NetSettings):
    """Train an isotropic ConvNeXt with large depthwise kernels (arXiv 2201.03545).

    Example: python train.py convnext --kernel 9
    """

    name_prefixes: ClassVar[dict[str, str]] = {"layers": "l", "width": "w", "kernel": "k"}

    layers: int = option(8, Integer(1, 100), "Blocks.")
    width: int = option(96, Integer(1, 1024), "Channels.")
    kernel: int = option(9, Odd(1, 31), "Kernel size, odd.")
    expansion: int = option(3, Integer(1, 8), "Channels of the pointwise MLP, in widths.")
    conv: str = option("full", _CONV, "Spatial conv: depthwise (full) or channel selection.")
    rank: int = option(1, Integer(1, 9), _RANK_HELP, only_if=("conv", "select"))

    def validate(self, size: tuple[int, int]) -> None:
        if self.conv == "select":
            self.check_rank(self.rank, self.kernel)


@net("nafnet", "models.nafnet:NAFNet", task="restoration", defaults=_MUON)
@dataclass(frozen=True, kw_only=True)
class NAFNetSettings(NetSettings):
    """Train a small NAFNet, gates in place of activations (arXiv 2204.04676).

    Example: python train.py nafnet --width 32
    """

    name_prefixes: ClassVar[dict[str, str]] = {"width": "w", "blocks": "b"}

    width: int = option(32, Integer(1, 512), _WIDTH_HELP)
    blocks: int = option(2, Integer(1, 20), "Blocks at each of the five stages.")


@net("fourier", "models.fourier:FourierNet", task="restoration", defaults=_MUON)
@dataclass(frozen=True, kw_only=True)
class FourierSettings(NetSettings):
    """Train a net of fast Fourier convolutions (arXiv 2109.07161).

    Example: python train.py fourier --layers 6
    """

    name_prefixes: ClassVar[dict[str, str]] = {"layers": "l", "width": "w"}

    layers: int = option(6, Integer(1, 100), "Blocks.")
    width: int = option(64, Integer(2, 1024), "Channels.")


@net("vit", "models.vit:ViT", task="restoration", defaults=_FAST)
@dataclass(frozen=True, kw_only=True)
class ViTSettings(NetSettings):
    """Train a vision transformer on patches (masked autoencoders, arXiv 2111.06377).

    Example: python train.py vit --patch 4
    """

    name_prefixes: ClassVar[dict[str, str]] = {"layers": "l", "width": "w", "patch": "p"}

    layers: int = option(6, Integer(1, 100), "Transformer layers.")
    width: int = option(96, Integer(8, 2048, step=8), "Channels of a token, a multiple of 8.")
    patch: int = option(4, Integer(1, 64), "Pixels a side of a patch.")


@net("mlp", "models.mlp:MLP", task="restoration", defaults=_FAST, sized=True)
@dataclass(frozen=True, kw_only=True)
class MLPSettings(NetSettings):
    """Train a multilayer perceptron on the pixels, the plain control.

    Example: python train.py mlp --width 256
    """

    name_prefixes: ClassVar[dict[str, str]] = {"layers": "l", "width": "w"}

    layers: int = option(2, Integer(1, 20), "Hidden layers.")
    width: int = option(256, Integer(1, 8192), "Units of a hidden layer.")


@net(
    "classify", "models.classifiers:build_classifier", task="classification", defaults={"size": 32}
)
@dataclass(frozen=True, kw_only=True)
class ClassifierSettings(NetSettings):
    """Train a classifier with ordinary convs or with channel selection.

    Example: python train.py classify --conv select --rank 1
    """

    name_prefixes: ClassVar[dict[str, str]] = {"model": "", "conv": ""}

    model: str = option(
        "small",
        Text(),
        "The logbook's small ResNet, or any torchvision classifier by name, such as resnet18.",
    )
    conv: str = option(
        "select", _CONV, "Kind of conv: full (ordinary Conv2d) or channel selection (BSConv-U)."
    )
    rank: int = option(1, Integer(1), _RANK_HELP, only_if=("conv", "select"))
    dropout: float = option(
        0.2, Real(0, 0.95, example="0.2"), "Dropout before the last layer (small only)."
    )


@net("baseline", "tasks.baselines:Baseline", task="restoration", defaults=_MASKED, fitted=True)
@dataclass(frozen=True, kw_only=True)
class BaselineSettings(NetSettings):
    """Measure a restoration without training: what a net must beat.

    Example: python train.py baseline --method knn --data fashion-mnist
    """

    name_prefixes: ClassVar[dict[str, str]] = {"method": ""}

    method: str = option(
        "knn",
        Choice(("zeros", "mean", "median", "mirror", "ridge", "knn")),
        "Damaged pixels from: zeros, the training images' mean or median, the mirror image, ridge "
        "regression on the visible pixels, or the nearest training images.",
    )
    k: int | None = option(
        None, Integer(1, 1000, optional=True), "Nearest images [default: chosen on held-out ones]."
    )
    distance: str | None = option(
        None, Choice(("l1", "l2"), optional=True), "Distance of visible pixels [default: chosen]."
    )
    combine: str | None = option(
        None,
        Choice(("median", "mean", "weighted"), optional=True),
        "How the nearest images are combined; weighted is by inverse distance [default: chosen].",
    )
    ridge: float | None = option(
        None,
        Real(0, above=True, example="100", optional=True),
        "Strength of ridge [default: chosen].",
    )
