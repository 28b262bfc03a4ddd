"""Channel-selection convolution: a weighted sum over channels, then one small kernel per output.

The layer of the channel-selection logbook (facts, part B), known as BSConv-U: Haase and Amthor,
"Rethinking Depthwise Separable Convolutions", CVPR 2020, arXiv 2003.13549. Rank r sums r such
pairs per output channel; at r = kernel height x width it can express every dense convolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from models.fastest import WAYS, fastest_way


class _ChannelSelection(nn.Module):
    """What the layer and its transposed twin share: parameters, and the choice of the way.

    ``select`` is [r o i], ``kernel`` [r o h w]; the dense kernel they stand for is
    ``W[o i h w] = sum over r of select[r o i] * kernel[r o h w]``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        *,
        rank: int = 1,
        way: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.rank, self.way = rank, way
        self.kernel_size, self.stride, self.dilation = map(_pair, (kernel_size, stride, dilation))
        self.padding = padding if isinstance(padding, str) else _pair(padding)
        height, width = self.kernel_size
        if not 1 <= rank <= height * width:
            raise ValueError(
                f"rank must be from 1 to {height * width} for a {height}x{width} kernel, got {rank}"
            )
        if way not in ("auto", *WAYS):
            raise ValueError(f"way must be auto or one of {', '.join(WAYS)}, got {way!r}")
        new = {"device": device, "dtype": dtype}
        self.select = nn.Parameter(torch.empty(rank, out_channels, in_channels, **new))
        self.kernel = nn.Parameter(torch.empty(rank, out_channels, height, width, **new))
        self.bias = nn.Parameter(torch.empty(out_channels, **new)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw as ``nn.Linear`` and a depthwise ``nn.Conv2d`` do, the sum over ranks kept level."""
        area = math.prod(self.kernel_size)
        nn.init.uniform_(self.select, -self.in_channels**-0.5, self.in_channels**-0.5)
        nn.init.uniform_(self.kernel, -((area * self.rank) ** -0.5), (area * self.rank) ** -0.5)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -(area**-0.5), area**-0.5)

    def dense_kernel(self) -> Tensor:
        """The [o i h w] kernel of the dense convolution that this layer equals."""
        return einsum(self.select, self.kernel, "r o i, r o h w -> o i h w")

    def forward(self, x: Tensor) -> Tensor:
        """[n i h w] -> [n o h' w']. Raises ValueError when ``x`` has another shape."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"expected an input [n {self.in_channels} h w], got {list(x.shape)}")
        way = fastest_way(self, x) if self.way == "auto" else self.way
        return self.compute(x, way)

    def compute(self, x: Tensor, way: str) -> Tensor:
        """The output by one of ``WAYS``; they differ in speed and rounding only."""
        if way == "merged":
            return self._dense(x, self.dense_kernel())
        if way == "permute":
            x = F.linear(
                rearrange(x, "n c h w -> n h w c"), rearrange(self.select, "r o i -> (o r) i")
            )
            x = rearrange(x, "n h w c -> n c h w")
        else:
            x = F.conv2d(x, rearrange(self.select, "r o i -> (o r) i 1 1"))
        return self._per_channel(x, self.kernel)

    @torch.no_grad()
    def _as(self, kind: type[nn.Module], kernel: Tensor) -> nn.Module:
        conv = kind(
            self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding,
            dilation=self.dilation, bias=self.bias is not None,
            device=self.select.device, dtype=self.select.dtype,
        )  # fmt: skip
        conv.weight.copy_(kernel)
        if self.bias is not None:
            conv.bias.copy_(self.bias)
        return conv.train(self.training)

    def _dense(self, x: Tensor, kernel: Tensor) -> Tensor:
        raise NotImplementedError

    def _per_channel(self, x: Tensor, kernel: Tensor) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}, padding={self.padding}, dilation={self.dilation}"
        return text + f", bias={self.bias is not None}, rank={self.rank}, way={self.way}"


class ChannelSelectionConv2d(_ChannelSelection):
    """``nn.Conv2d`` with ``r * (I*O + O*h*w)`` weights, computed in the fastest of three ways.

    ``way``: ``permute`` (as published: Linear over the channel axis, then a depthwise conv),
    ``pointwise`` (1x1 conv, then depthwise), ``merged`` (build the dense kernel, one ordinary
    conv) or ``auto`` (measured once per shape, see ``models.fastest``). With zero padding and no
    bias between the steps all three are the same function. Raises ValueError for a rank outside
    1..h*w or an unknown way.
    """

    def _dense(self, x: Tensor, kernel: Tensor) -> Tensor:
        return F.conv2d(x, kernel, self.bias, self.stride, self.padding, self.dilation)

    def _per_channel(self, x: Tensor, kernel: Tensor) -> Tensor:
        # One group per output channel, r inputs each: the conv itself sums over the rank.
        kernel = rearrange(kernel, "r o h w -> o r h w")
        geometry = (self.stride, self.padding, self.dilation)
        return F.conv2d(x, kernel, self.bias, *geometry, self.out_channels)

    def to_conv(self) -> nn.Conv2d:
        """An ordinary conv with the same function, for export."""
        return self._as(nn.Conv2d, self.dense_kernel())


class ChannelSelectionConvTranspose2d(_ChannelSelection):
    """The same layer for ``nn.ConvTranspose2d``: select, then a depthwise transposed conv."""

    def to_conv(self) -> nn.ConvTranspose2d:
        """An ordinary transposed conv with the same function, for export."""
        return self._as(nn.ConvTranspose2d, rearrange(self.dense_kernel(), "o i h w -> i o h w"))

    def _dense(self, x: Tensor, kernel: Tensor) -> Tensor:
        kernel = rearrange(kernel, "o i h w -> i o h w")
        return self._transposed(x, kernel, groups=1)

    def _per_channel(self, x: Tensor, kernel: Tensor) -> Tensor:
        kernel = rearrange(kernel, "r o h w -> (o r) 1 h w")
        return self._transposed(x, kernel, groups=self.out_channels)

    def _transposed(self, x: Tensor, kernel: Tensor, *, groups: int) -> Tensor:
        return F.conv_transpose2d(
            x, kernel, self.bias, self.stride, self.padding, 0, groups, self.dilation
        )


@dataclass(frozen=True)
class Replaced:
    """How many convs ``replace_convs`` swapped, and how many it had to leave alone."""

    replaced: int
    left: int


def replace_convs(
    model: nn.Module, *, rank: int = 1, bias: bool | None = None, way: str = "auto"
) -> Replaced:
    """Swap every ``nn.Conv2d`` of ``model``, in place, for channel selection; weights are new.

    ``rank`` is capped at each kernel's area (a 1x1 conv has rank 1). ``bias`` None keeps what the
    replaced conv had. Grouped convs and convs that pad with anything but zeros are left alone
    (the ways would differ there) and counted. Raises ValueError when ``model`` itself is a conv.
    """
    if isinstance(model, nn.Conv2d):
        raise ValueError("replace_convs swaps the convs inside a model; the model is itself a conv")
    new: dict[nn.Conv2d, nn.Module] = {}
    left = set()
    for parent in list(model.modules()):
        # Not named_children(): it would skip the second name of a shared conv.
        for name, conv in list(parent._modules.items()):
            if type(conv) is not nn.Conv2d:
                continue
            if conv.groups != 1 or conv.padding_mode != "zeros":
                left.add(conv)
                continue
            if conv not in new:
                new[conv] = _like(conv, rank, bias, way)
            setattr(parent, name, new[conv])
    return Replaced(len(new), len(left))


def _like(conv: nn.Conv2d, rank: int, bias: bool | None, way: str) -> ChannelSelectionConv2d:
    layer = ChannelSelectionConv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,
        conv.dilation, conv.bias is not None if bias is None else bias,
        rank=min(rank, math.prod(conv.kernel_size)), way=way,
        device=conv.weight.device, dtype=conv.weight.dtype,
    )  # fmt: skip
    return layer.train(conv.training)


def to_plain_convs(model: nn.Module) -> int:
    """Swap every channel selection inside ``model``, in place, for the conv it equals; count."""
    count = 0
    for parent in list(model.modules()):
        for name, layer in list(parent._modules.items()):
            if isinstance(layer, _ChannelSelection):
                setattr(parent, name, layer.to_conv())
                count += 1
    return count
