"""ResConv: a residual conv encoder/decoder that keeps the image size (logbook A)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from models.channel_selection import ChannelSelectionConv2d, ChannelSelectionConvTranspose2d
from models.per_layer import channels_per_layer, kernels_per_layer
from models.registry import BN_POSITIONS


class GELU(nn.GELU):
    """``nn.GELU`` on [n c h w]; where channels lie last, read as [n h w c].

    PyTorch hands contiguous CPU tensors to oneDNN's GELU, and channels_last ones to its own,
    which is 1.7 times as slow in bf16.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        x = super().forward(rearrange(x, "n c h w -> n h w c"))
        return rearrange(x, "n h w c -> n c h w")


ACTIVATION_CLASSES: dict[str, Callable[[], nn.Module]] = {
    "gelu": GELU, "mish": nn.Mish, "silu": nn.SiLU, "hardswish": nn.Hardswish,
    "leakyrelu": nn.LeakyReLU, "relu6": nn.ReLU6, "relu": nn.ReLU, "prelu": nn.PReLU,
    "softplus": nn.Softplus, "logsigmoid": nn.LogSigmoid, "celu": nn.CELU, "tanh": nn.Tanh,
    "rrelu": nn.RReLU, "hardtanh": nn.Hardtanh, "softsign": nn.Softsign, "selu": nn.SELU,
    "sigmoid": nn.Sigmoid, "hardsigmoid": nn.Hardsigmoid, "softshrink": nn.Softshrink,
    "hardshrink": nn.Hardshrink, "tanhshrink": nn.Tanhshrink,
}  # fmt: skip


def make_conv(i: int, o: int, k: int, *, rank: int, **geometry: int) -> nn.Module:
    """An ordinary conv (``rank`` 0) or a channel selection of that rank; both with bias."""
    if rank:
        geometry.pop("groups")
        return ChannelSelectionConv2d(i, o, k, rank=rank, **geometry)
    return nn.Conv2d(i, o, k, **geometry)


class Deconv(nn.Module):
    """A transposed conv that maps [n i h' w'] back to [n o h w], the size its mirror saw.

    With stride 1 it IS an ordinary conv with padding k - 1 - p (the same functions, kernel
    flipped), and that is much faster on CPU. Other strides use the transposed conv, padded with
    zeros at the bottom and right. Weights start as ``nn.ConvTranspose2d`` starts them.
    """

    def __init__(
        self, i: int, o: int, k: int, *, stride: int, padding: int, groups: int, rank: int
    ) -> None:
        super().__init__()
        if stride == 1:
            self.conv = make_conv(
                i, o, k, stride=1, padding=k - 1 - padding, groups=groups, rank=rank
            )
        elif rank:
            self.conv = ChannelSelectionConvTranspose2d(
                i, o, k, stride=stride, padding=padding, rank=rank
            )
        else:
            self.conv = nn.ConvTranspose2d(i, o, k, stride=stride, padding=padding, groups=groups)
        if not rank:
            # PyTorch scales a transposed conv's start by its OUTPUT channels.
            bound = 1 / math.sqrt(o // groups * k * k)
            nn.init.uniform_(self.conv.weight, -bound, bound)
            nn.init.uniform_(self.conv.bias, -bound, bound)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        y = self.conv(x)
        bottom, right = size[0] - y.shape[-2], size[1] - y.shape[-1]
        return F.pad(y, (0, right, 0, bottom)) if bottom or right else y


class Layer(nn.Module):
    """A conv with its activation and, where ``bn`` says, a batch norm (logbook: batch-norm).

    ``bn``: ``before`` (on the i inputs), ``after-conv`` or ``after-act`` (on the o outputs),
    ``none``. A decoder layer's forward also takes the size to restore.
    """

    def __init__(self, conv: nn.Module, i: int, o: int, *, bn: str, act: nn.Module) -> None:
        super().__init__()
        self.before = nn.BatchNorm2d(i) if bn == "before" else nn.Identity()
        self.conv = conv
        self.after_conv = nn.BatchNorm2d(o) if bn == "after-conv" else nn.Identity()
        self.act = act
        self.after_act = nn.BatchNorm2d(o) if bn == "after-act" else nn.Identity()

    def forward(self, x: Tensor, *size: tuple[int, int]) -> Tensor:
        return self.after_act(self.act(self.after_conv(self.conv(self.before(x), *size))))


class ResConv(nn.Module):
    """``layers`` encoder layers and their mirror image: [n c h w] -> [n c h w] in [0, 1].

    Decoder layer j >= 2 gets the output of decoder layer j-1 plus ``residual_weight`` times the
    output of encoder layer ``layers + 1 - j``. The last encoder layer has no activation, the
    last decoder layer a sigmoid. ``ks`` and ``ch`` follow ``models.per_layer``; ``padding`` None is
    half the kernel. The first and the last conv are never grouped; ``rank`` > 0 makes all the
    others channel selections of that rank. With ``checkpoint_activations`` each layer is
    computed again in the backward pass instead of being kept.

    Raises ``ValueError`` for arguments that make no net, and for inputs that are not
    [n, ``image_channels``, h, w].
    """

    def __init__(
        self,
        *,
        image_channels: int = 1,
        extra_channels: int = 0,
        layers: int = 11,
        ks: int | str = 3,
        ch: int | str = 32,
        residual_weight: float = 1.0,
        bn_encoder: str = "before",
        bn_decoder: str = "before",
        bn_last: bool = False,
        act: str = "gelu",
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        rank: int = 0,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        _check(layers, bn_encoder=bn_encoder, bn_decoder=bn_decoder, act=act)
        self.image_channels, self.residual_weight = image_channels, residual_weight
        self.input_channels = image_channels + extra_channels
        self.stride, self.checkpoint_activations = stride, checkpoint_activations
        self.channels = channels_per_layer(ch, layers)
        self.kernels = kernels_per_layer(ks, layers)
        self.paddings = _paddings(padding, self.kernels)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        pairs = itertools.pairwise([image_channels, *self.channels])
        for n, ((i, o), k) in enumerate(zip(pairs, self.kernels, strict=True)):
            outermost, innermost = n == 0, n == layers - 1
            geometry = {
                "stride": stride,
                "padding": self.paddings[n],
                "groups": 1 if outermost else groups,
                "rank": 0 if outermost else rank,
            }
            inputs = self.input_channels if outermost else i
            self.encoder.append(
                Layer(
                    make_conv(inputs, o, k, **geometry), inputs, o,
                    bn="none" if innermost and not bn_last else bn_encoder,
                    act=nn.Identity() if innermost else ACTIVATION_CLASSES[act](),
                )
            )  # fmt: skip
            self.decoder.insert(
                0,
                Layer(
                    Deconv(o, i, k, **geometry), o, i,
                    bn="none" if outermost and not bn_last else bn_decoder,
                    act=nn.Sigmoid() if outermost else ACTIVATION_CLASSES[act](),
                ),
            )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != self.input_channels:
            raise ValueError(
                f"images must be [n {self.input_channels} h w], got {list(images.shape)}"
            )
        x, outputs, sizes = images, [], []
        for layer in self.encoder:
            sizes.append(tuple(x.shape[-2:]))
            x = self._run(layer, x)
            outputs.append(x)
        outputs.pop()
        x = self._run(self.decoder[0], x, sizes.pop())
        for layer in self.decoder[1:]:
            x = torch.add(x, outputs.pop(), alpha=self.residual_weight)
            x = self._run(layer, x, sizes.pop())
        return x

    def receptive_field(self) -> int:
        """Pixels, in one direction, that an output pixel can see."""
        return receptive_fields(self.kernels, self.stride, self.paddings)[-1]

    def layer_receptive_fields(self) -> dict[str, int]:
        """The same after each layer, by the layer's name."""
        names = [f"{part}.{n}" for part in ("encoder", "decoder") for n in range(len(self.encoder))]
        fields = receptive_fields(self.kernels, self.stride, self.paddings)
        return dict(zip(names, fields, strict=True))

    def _run(self, layer: Layer, x: Tensor, *size: tuple[int, int]) -> Tensor:
        if not (self.checkpoint_activations and self.training):
            return layer(x, *size)
        # The compiler takes no contexts, and does not repeat the updates of statistics.
        contexts = {"context_fn": lambda: (nullcontext(), _statistics_kept(layer))}
        if torch.compiler.is_compiling():
            contexts = {}
        return checkpoint(layer, x, *size, use_reentrant=False, **contexts)


def _check(layers: int, **names: str) -> None:
    if layers < 1:
        raise ValueError(f"layers must be at least 1, got {layers}")
    for option, value in names.items():
        known = ACTIVATION_CLASSES if option == "act" else BN_POSITIONS
        if value not in known:
            raise ValueError(f"{option} must be one of {', '.join(known)}, got {value!r}")


def _paddings(padding: int | None, kernels: list[int]) -> list[int]:
    """Each layer's padding; None is half its kernel. Raises ``ValueError``."""
    if padding is not None and not 0 <= padding < min(kernels):
        raise ValueError(f"padding must be from 0 to below every kernel size, got {padding}")
    return [k // 2 if padding is None else padding for k in kernels]


@contextmanager
def _statistics_kept(layer: nn.Module) -> Iterator[None]:
    """Batch norms have counted this batch in the first forward; the second must not count it."""
    norms = [m for m in layer.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked.sub_(1)
    try:
        yield
    finally:  # PyTorch leaves by an exception, once all that is needed is there again
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def receptive_fields(kernels: list[int], stride: int, paddings: list[int]) -> list[int]:
    """Pixels, in one direction, that an output pixel can see after each layer, decoder included.

    Exact, by tracing a pixel back to the image; the last value is the whole net's theoretical
    receptive field (stride 1: 1 + 2 * sum(k - 1)). Logbook A asks whether depth works through it.
    """
    encoder = [(False, k, p) for k, p in zip(kernels, paddings, strict=True)]
    path = encoder + [(True, k, p) for _, k, p in reversed(encoder)]
    phases = range(min(stride ** len(kernels), 1024))  # output pixels can differ with a stride
    return [
        max(_extent(path[:end], stride, pixel) for pixel in phases)
        for end in range(1, len(path) + 1)
    ]


def _extent(path: list[tuple[bool, int, int]], stride: int, pixel: int) -> int:
    low = high = pixel
    for transposed, k, padding in reversed(path):
        if transposed:
            low = -((k - 1 - padding - low) // stride)
            high = (high + padding) // stride
        else:
            low, high = low * stride - padding, high * stride - padding + k - 1
    return high - low + 1
