"""ResConv: a residual conv encoder/decoder that keeps the image size (logbook A)."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from models.layers import Deconv, Layer, RestorationNet, activation, make_conv, recompute
from models.per_layer import channels_per_layer, kernels_per_layer
from models.registry import BN_POSITIONS

MAX_PHASES = 2**14
MAX_SCALE = 2**20


class ResConv(RestorationNet):
    """``layers`` encoder layers and their mirror image: [n c h w] -> [n c h w] in [0, 1].

    Decoder layer j >= 2 gets the output of decoder layer j-1 plus ``residual_weight`` times the
    output of encoder layer ``layers + 1 - j``. The last encoder layer has no activation, the
    last decoder layer a sigmoid. ``ks`` and ``ch`` follow ``models.per_layer``; ``padding`` None is
    half the kernel. The first and the last conv are never grouped; ``rank`` > 0 makes all the
    others channel selections of that rank. With ``checkpoint_activations`` each layer is
    computed again in the backward pass instead of being kept.

    Raises ``ValueError`` for arguments that make no net.
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
        super().__init__(image_channels, extra_channels)
        counts = {"image_channels": image_channels, "layers": layers, "stride": stride}
        _check(counts | {"groups": groups}, bn_encoder=bn_encoder, bn_decoder=bn_decoder)
        self.residual_weight, self.stride = residual_weight, stride
        self.checkpoint_activations = checkpoint_activations
        self.channels = channels_per_layer(ch, layers)
        self.kernels = kernels_per_layer(ks, layers)
        self.paddings = _paddings(padding, self.kernels)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for n, (i, o) in enumerate(itertools.pairwise([image_channels, *self.channels])):
            outermost, innermost = n == 0, n == layers - 1
            geometry = {"stride": stride, "padding": self.paddings[n]}
            geometry |= {"groups": 1, "rank": 0} if outermost else {"groups": groups, "rank": rank}
            inputs = self.input_channels if outermost else i
            conv = make_conv(inputs, o, self.kernels[n], **geometry)
            deconv = Deconv(o, i, self.kernels[n], **geometry)
            bn = "none" if innermost and not bn_last else bn_encoder
            act_module = nn.Identity() if innermost else activation(act)
            self.encoder.append(Layer(conv, inputs, o, bn=bn, act=act_module))
            bn = "none" if outermost and not bn_last else bn_decoder
            act_module = nn.Sigmoid() if outermost else activation(act)
            self.decoder.insert(0, Layer(deconv, o, i, bn=bn, act=act_module))

    def compute(self, images: Tensor) -> Tensor:
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
        return list(self.layer_receptive_fields().values())[-1]

    def layer_receptive_fields(self) -> dict[str, int]:
        """The receptive field after each layer, by the layer's name."""
        skips = self.residual_weight != 0
        fields = receptive_fields(self.kernels, self.stride, self.paddings, skips=skips)
        names = [f"{part}.{n}" for part in ("encoder", "decoder") for n in range(len(self.encoder))]
        return dict(zip(names, fields, strict=True))

    def _run(self, layer: nn.Module, x: Tensor, *size: tuple[int, int]) -> Tensor:
        if self.checkpoint_activations and self.training:
            return recompute(layer, x, *size)
        return layer(x, *size)


def _check(counts: dict[str, int], **positions: str) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name, value in positions.items():
        if value not in BN_POSITIONS:
            raise ValueError(f"{name} must be one of {', '.join(BN_POSITIONS)}, got {value!r}")


def _paddings(padding: int | None, kernels: list[int]) -> list[int]:
    """Each layer's padding; None is half its kernel. Raises ``ValueError``."""
    if padding is not None and not 0 <= padding < min(kernels):
        raise ValueError(f"padding must be from 0 to below every kernel size, got {padding}")
    return [k // 2 if padding is None else padding for k in kernels]


def receptive_fields(
    kernels: list[int], stride: int, paddings: list[int], *, skips: bool = True
) -> list[int]:
    """Pixels, in one direction, that an output pixel depends on after each layer.

    Each value is the extent (last - first + 1) of the pixels that some output pixel of the
    encoder or decoder layer depends on, through the skips too (stride 1: 1 + 2 * sum(k - 1) for
    the whole net). Exact far from the image's edges, unless stride ** layers exceeds
    ``MAX_PHASES``: then a lower bound. Paths beyond a scale of ``MAX_SCALE`` pixels are cut.
    """
    # Outputs [low, high] of an encoder layer depend on the pixels
    # [low * scale - before, high * scale + after].
    layers, scale, before, after = [], 1, 0, 0
    for k, p in zip(kernels, paddings, strict=True):
        before += p * scale
        after += (k - 1 - p) * scale
        scale *= stride
        layers.append((k, p, scale, before, after))
    encoder = [1 + before + after for *_, before, after in layers]
    decoder = [_decoder_field(layers[n:], stride, skips) for n in range(len(layers))]
    return encoder + decoder[::-1]


def _decoder_field(layers: list[tuple[int, ...]], stride: int, skips: bool) -> int:
    """The largest extent for the decoder layer that mirrors the first of these encoder layers."""
    low = np.arange(min(stride ** len(layers), MAX_PHASES))
    high, present = low.copy(), np.ones_like(low, dtype=bool)
    start, end = np.full(low.shape, np.inf), np.full(low.shape, -np.inf)
    for n, (k, p, scale, before, after) in enumerate(layers, 1):
        if scale > MAX_SCALE:
            start, end = np.minimum(start, -before), np.maximum(end, after)
            break
        low, high = -((k - 1 - p - low) // stride), (high + p) // stride
        present &= low <= high  # a transposed conv's output can depend on its bias alone
        if skips or n == len(layers):
            start = np.where(present, np.minimum(start, low * scale - before), start)
            end = np.where(present, np.maximum(end, high * scale + after), end)
    return int(max(0, np.max(end - start + 1, initial=0)))
