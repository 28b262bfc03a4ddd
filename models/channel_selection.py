"""Channel-selection convolution: a weighted sum over channels, then one small kernel per output.

The layer of the channel-selection logbook, known as BSConv-U: Haase and Amthor, "Rethinking
Depthwise Separable Convolutions", CVPR 2020, arXiv 2003.13549. Rank r sums r such pairs per output
channel; at r = kernel height x width it can express every dense convolution.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.utils import _pair

IMPLEMENTATIONS = ("permute", "pointwise", "merged")


class _ChannelSelection(nn.Module):
    """Parameters and implementations shared by the layer and its transposed form.

    ``select`` is [r o i], ``kernel`` [r o h w]; the dense kernel they stand for is
    ``W[o i h w] = sum over r of select[r o i] * kernel[r o h w]``.
    """

    ordinary: type[nn.Conv2d | nn.ConvTranspose2d] = nn.Conv2d

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
        implementation: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.rank, self.implementation = rank, implementation
        self.kernel_size, self.stride, self.dilation = map(_pair, (kernel_size, stride, dilation))
        self.padding: Any = padding if isinstance(padding, str) else _pair(padding)
        self._check_geometry()
        height, width = self.kernel_size
        if not 1 <= rank <= height * width:
            raise ValueError(
                f"rank must be from 1 to {height * width} for a {height}x{width} kernel, got {rank}"
            )
        if implementation not in ("auto", *IMPLEMENTATIONS):
            known = ", ".join(IMPLEMENTATIONS)
            raise ValueError(
                f"implementation must be auto or one of {known}, got {implementation!r}"
            )
        new = {"device": device, "dtype": dtype}
        self.select = nn.Parameter(torch.empty(rank, out_channels, in_channels, **new))
        self.kernel = nn.Parameter(torch.empty(rank, out_channels, height, width, **new))
        self.bias = nn.Parameter(torch.empty(out_channels, **new)) if bias else None
        self.reset_parameters()

    def _check_geometry(self) -> None:
        for name in ("kernel_size", "stride", "dilation", "in_channels", "out_channels"):
            value = getattr(self, name)
            if min(_pair(value)) < 1:
                shown = str(value).strip("()")
                raise ValueError(f"{name} must be at least 1, got {shown}")
        if self.padding == "same" and max(self.stride) > 1:
            raise ValueError(f"padding 'same' needs a stride of 1, got {self.stride}")
        known = ("same", "valid") if self.ordinary is nn.Conv2d else ()
        if self.padding not in known and (isinstance(self.padding, str) or min(self.padding) < 0):
            allowed = "0 or more" + ", 'same' or 'valid'" * bool(known)
            raise ValueError(f"padding must be {allowed}, got {self.padding!r}")

    def reset_parameters(self) -> None:
        """Initialise as ``nn.Linear`` and a depthwise ``nn.Conv2d``.

        Kernels are scaled so that the output variance does not depend on the rank.
        """
        area = math.prod(self.kernel_size)
        nn.init.uniform_(self.select, -(self.in_channels**-0.5), self.in_channels**-0.5)
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
        chosen = self.implementation
        return self.compute(x, self.automatic(x) if chosen == "auto" else chosen)

    def automatic(self, x: Tensor) -> str:
        """The implementation that ``auto`` stands for: pointwise on CPU at rank 1 and stride 1.

        ``bench conv`` measures the rule: strided depthwise convs are slow on CPU in bf16.
        """
        unstrided = self.rank == 1 and self.stride == (1, 1)
        return "pointwise" if x.device.type == "cpu" and unstrided else "merged"

    def compute(self, x: Tensor, implementation: str) -> Tensor:
        """The output by one of ``IMPLEMENTATIONS``, which differ in speed and rounding only."""
        if implementation == "merged":
            return self._conv(x, self.dense_kernel(), 1)
        if implementation == "permute":
            x = F.linear(
                rearrange(x, "n c h w -> n h w c"), rearrange(self.select, "r o i -> (o r) i")
            )
            x = rearrange(x, "n h w c -> n c h w")
        else:
            x = F.conv2d(x, rearrange(self.select, "r o i -> (o r) i 1 1"))
        # One group per output channel, r inputs each: the conv itself sums over the rank.
        return self._conv(x, rearrange(self.kernel, "r o h w -> o r h w"), self.out_channels)

    def _conv(self, x: Tensor, kernel: Tensor, groups: int) -> Tensor:
        """The ordinary conv with ``kernel``, [o i h w] with i channels a group."""
        raise NotImplementedError

    def _weight(self, kernel: Tensor, groups: int) -> Tensor:
        """``kernel`` in the layout of the ordinary conv's weight."""
        return kernel

    @torch.no_grad()
    def to_conv(self) -> nn.Conv2d | nn.ConvTranspose2d:
        """An ordinary conv with the same function, for export."""
        conv = self.ordinary(
            self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding,
            dilation=self.dilation, bias=self.bias is not None,
            device=self.select.device, dtype=self.select.dtype,
        )  # fmt: skip
        conv.weight.copy_(self._weight(self.dense_kernel(), 1))
        if self.bias is not None and conv.bias is not None:
            conv.bias.copy_(self.bias)
            conv.bias.requires_grad_(self.bias.requires_grad)
        conv.weight.requires_grad_(self.select.requires_grad or self.kernel.requires_grad)
        return conv.train(self.training)

    def extra_repr(self) -> str:
        names = ("kernel_size", "stride", "padding", "dilation", "rank", "implementation")
        about = [f"{name}={getattr(self, name)}" for name in names]
        about.append(f"bias={self.bias is not None}")
        return ", ".join([str(self.in_channels), str(self.out_channels), *about])


class ChannelSelectionConv2d(_ChannelSelection):
    """``nn.Conv2d`` with ``r * (I*O + O*h*w)`` weights and three implementations.

    ``implementation``: ``permute`` (as published: Linear over the channel axis, then a depthwise
    conv), ``pointwise`` (1x1 conv, then depthwise), ``merged`` (build the dense kernel, one
    ordinary conv) or ``auto`` (pointwise or merged, see ``automatic``). With zero padding and no
    bias between the steps all three are the same function. Raises ValueError for a rank outside
    1..h*w, an unknown implementation or an impossible geometry.
    """

    def _conv(self, x: Tensor, kernel: Tensor, groups: int) -> Tensor:
        return F.conv2d(x, kernel, self.bias, self.stride, self.padding, self.dilation, groups)


class ChannelSelectionConvTranspose2d(_ChannelSelection):
    """The same layer for ``nn.ConvTranspose2d``: select, then a depthwise transposed conv."""

    ordinary = nn.ConvTranspose2d

    def _weight(self, kernel: Tensor, groups: int) -> Tensor:
        return rearrange(kernel, "(g o) i h w -> (g i) o h w", g=groups)

    def _conv(self, x: Tensor, kernel: Tensor, groups: int) -> Tensor:
        weight = self._weight(kernel, groups)
        return F.conv_transpose2d(
            x, weight, self.bias, self.stride, self.padding, 0, groups, self.dilation
        )


@dataclass(frozen=True)
class Replaced:
    """``replaced``: number of layers replaced; ``skipped``: layers that could not be replaced."""

    replaced: int
    skipped: int


def replace_convs(model: nn.Module, *, rank: int = 1, bias: bool | None = None) -> Replaced:
    """Replace every ``nn.Conv2d`` of ``model``, in place, by channel selection with new weights.

    ``rank`` is capped at each kernel's area (a 1x1 conv has rank 1). ``bias`` None keeps what the
    conv had; frozen parameters stay frozen. Skipped and counted: grouped convs, padding with
    anything but zeros, 1-D, 3-D, transposed and lazy convs, subclasses, parametrizations (weight
    and spectral norm), pruning, hooks, and weights that another module shares. Raises ValueError
    when ``model`` itself is a conv, which has no parent to be replaced in.
    """
    if isinstance(model, _ConvNd):
        raise ValueError("replace_convs replaces the convs inside a model; the model is a conv")

    def replaceable(conv: nn.Module) -> bool:
        return type(conv) is nn.Conv2d and conv.groups == 1 and conv.padding_mode == "zeros"

    return _replace(model, _ConvNd, replaceable, lambda conv: _matching(conv, rank, bias))


def to_plain_convs(model: nn.Module) -> Replaced:
    """Replace every channel selection of ``model``, in place, by the conv with the same function.

    Layers used twice stay shared, frozen ones frozen. Skipped and counted: subclasses,
    parametrizations, pruning, hooks, and weights that another module shares. Raises ValueError
    when ``model`` itself is a channel selection.
    """
    if isinstance(model, _ChannelSelection):
        raise ValueError("to_plain_convs replaces layers inside a model; use the layer's to_conv()")
    known = (ChannelSelectionConv2d, ChannelSelectionConvTranspose2d)
    return _replace(model, _ChannelSelection, lambda m: type(m) in known, lambda m: m.to_conv())


def _replace(
    model: nn.Module,
    kind: type[nn.Module],
    replaceable: Callable[..., bool],
    replacement: Callable[..., nn.Module],
) -> Replaced:
    found = [m for m in model.modules() if isinstance(m, kind)]
    uses = Counter(id(p) for m in model.modules() for p in m._parameters.values() if p is not None)
    new = {
        m: replacement(m)
        for m in found
        if replaceable(m) and _is_plain(m) and all(uses[id(p)] == 1 for p in m.parameters())
    }
    for parent in list(model.modules()):
        # Not named_children(): it would skip the second name of a shared layer.
        for name, child in list(parent._modules.items()):
            if child in new:
                setattr(parent, name, new[child])
    return Replaced(len(new), len(found) - len(new))


def _is_plain(module: nn.Module) -> bool:
    """Whether a module is nothing but its class and parameters: no hooks, buffers, patches."""
    hooks = [value for name, value in vars(module).items() if name.endswith("_hooks")]
    for parameter in module.parameters():
        hooks += [parameter._backward_hooks, parameter._post_accumulate_grad_hooks]
    own = ("weight", "select", "kernel", "bias")
    extra = [name for name in module._parameters if name not in own]
    patched = "forward" in vars(module)
    return not (any(hooks) or extra or module._buffers or module._modules or patched)


def _matching(conv: nn.Conv2d, rank: int, bias: bool | None) -> ChannelSelectionConv2d:
    names = ("kernel_size", "stride", "padding", "dilation")
    geometry: dict[str, Any] = {name: getattr(conv, name) for name in names}
    layer = ChannelSelectionConv2d(
        conv.in_channels,
        conv.out_channels,
        **geometry,
        bias=conv.bias is not None if bias is None else bias,
        rank=min(rank, math.prod(conv.kernel_size)),
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    for parameter in (layer.select, layer.kernel):
        parameter.requires_grad_(conv.weight.requires_grad)
    if layer.bias is not None:
        layer.bias.requires_grad_((conv.weight if conv.bias is None else conv.bias).requires_grad)
    return layer.train(conv.training)
