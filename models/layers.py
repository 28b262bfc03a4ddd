"""Layers that several nets share."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from models.channel_selection import ChannelSelectionConv2d, ChannelSelectionConvTranspose2d


class GELU(nn.GELU):
    """``nn.GELU`` for [n c h w]; channels_last tensors on CPU are viewed as [n h w c].

    PyTorch hands contiguous CPU tensors to oneDNN's GELU, and channels_last ones to its own,
    which is 1.7 times as slow in bf16.
    """

    def forward(self, input: Tensor) -> Tensor:
        # vmap cannot tell the memory format of a batched tensor.
        if input.device.type != "cpu" or input.ndim != 4 or is_batchedtensor(input):
            return super().forward(input)
        if not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        x = super().forward(rearrange(input, "n c h w -> n h w c"))
        return rearrange(x, "n h w c -> n c h w")


class LayerNorm(nn.LayerNorm):
    """Layer norm over the channels of [n c h w]."""

    def forward(self, input: Tensor) -> Tensor:
        x = super().forward(rearrange(input, "n c h w -> n h w c"))
        return rearrange(x, "n h w c -> n c h w")


def activation(name: str) -> nn.Module:
    """The activation of ``torch.nn`` with this class name in any case.

    Raises ``ValueError`` for another name, or an activation that needs arguments.
    """
    if name.lower() == "gelu":
        return GELU()
    known = {cls.lower(): cls for cls in nn.modules.activation.__all__}
    try:
        return getattr(nn, known[name.lower()])()
    except (KeyError, TypeError):
        raise ValueError(
            f"act must be an activation of torch.nn such as gelu, got {name!r}"
        ) from None


class RestorationNet(nn.Module):
    """Base of the restoration nets: images with extra channels [n c h w] -> images in [0, 1].

    ``compute`` gets images padded at the bottom and right to multiples of ``patch``, by repeating
    the edge, and its outputs are cropped. Raises ``ValueError`` for images of other channels, or of
    another ``size`` (height, width) if that is given.
    """

    patch = 1  # pixels

    def __init__(
        self, image_channels: int, extra_channels: int, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.input_channels, self.size = image_channels + extra_channels, size

    def receptive_field(self) -> int | None:
        """Pixels, in one direction, that an output pixel depends on; None is the whole image."""

    def compute(self, images: Tensor, /) -> Tensor:
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != self.input_channels or 0 in images.shape:
            raise ValueError(
                f"images must be [n {self.input_channels} h w], got {list(images.shape)}"
            )
        height, width = images.shape[-2:]
        if self.size not in (None, (height, width)):
            raise ValueError(f"images must be {self.size[0]}x{self.size[1]}, got {[*images.shape]}")
        bottom, right = -height % self.patch, -width % self.patch
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        return self.compute(images)[..., :height, :width]


def make_conv(
    i: int, o: int, k: int, *, rank: int = 0, groups: int = 1, **options: Any
) -> nn.Module:
    """An ordinary conv (``rank`` 0) or a channel selection of that rank, with its ``options``."""
    if not rank:
        return nn.Conv2d(i, o, k, groups=groups, **options)
    if groups != 1:
        raise ValueError(f"groups must be 1 for a channel selection (rank {rank}), got {groups}")
    return ChannelSelectionConv2d(i, o, k, rank=rank, **options)


class Deconv(nn.Module):
    """Transposed conv [n i h' w'] -> [n o h w], the input size of the matching encoder layer.

    With stride 1 it is an ordinary conv with padding k - 1 - p (the same functions, kernel
    flipped), which is much faster on CPU. Other strides use the transposed conv, padded with
    zeros at the bottom and right. Weights are initialised as by ``nn.ConvTranspose2d``.
    """

    def __init__(
        self, i: int, o: int, k: int, *, stride: int, padding: int, groups: int, rank: int
    ) -> None:
        super().__init__()
        if stride == 1:
            self.conv = make_conv(i, o, k, padding=k - 1 - padding, groups=groups, rank=rank)
        elif rank:
            self.conv = ChannelSelectionConvTranspose2d(
                i, o, k, stride=stride, padding=padding, rank=rank
            )
        else:
            self.conv = nn.ConvTranspose2d(i, o, k, stride=stride, padding=padding, groups=groups)
        if not rank:
            # PyTorch scales a transposed conv's initial weights by its OUTPUT channels.
            bound = 1 / math.sqrt(o // groups * k * k)
            for parameter in self.conv.parameters():
                nn.init.uniform_(parameter, -bound, bound)

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


def recompute(module: nn.Module, *args: object) -> Tensor:
    """``module(*args)`` whose activations are computed again in the backward pass, not kept."""
    # torch.compile does not support context_fn, nor does it update batch statistics twice.
    if torch.compiler.is_compiling():
        return checkpoint(module, *args, use_reentrant=False)
    # Recomputation stopped early would stop before rrelu has filled the noise that it keeps.
    with set_checkpoint_early_stop(False):
        return checkpoint(
            module,
            *args,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _frozen_statistics(module)),
        )


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms have counted this batch in the first forward; the second must not count it."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked.sub_(1)  # pyright: ignore[reportOptionalMemberAccess]
    try:
        yield
    finally:  # checkpoint() may end the recomputation by raising
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def conv3x3(i: int, o: int, *, rank: int = 0, stride: int = 1) -> nn.Module:
    """A 3x3 conv without bias, padded by 1; a channel selection where ``rank`` is above 0."""
    return make_conv(i, o, 3, padding=1, stride=stride, bias=False, rank=rank)


class Attention(nn.Module):
    """Residual self-attention over all pixels: [n c h w] -> [n c h w] (arXiv 1706.03762)."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = LayerNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        q, k, v = rearrange(
            self.qkv(self.norm(x)), "n (three d c) h w -> three n d (h w) c", three=3, d=self.heads
        )
        dtype = q.dtype
        if q.is_cpu:  # PyTorch's backward pass in bf16 is slow there for few tokens
            q, k, v = q.float(), k.float(), v.float()
        with torch.autocast("cpu", enabled=False):
            y = F.scaled_dot_product_attention(q, k, v).to(dtype)
        return x + self.out(rearrange(y, "n d (h w) c -> n (d c) h w", h=height, w=width))
