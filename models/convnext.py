"""Isotropic ConvNeXt: large depthwise kernels at one resolution (arXiv 2201.03545, 2201.09792)."""

from einops.layers.torch import Rearrange
from torch import Tensor, nn

from models.channel_selection import ChannelSelectionConv2d
from models.layers import GELU, LayerNorm, RestorationNet


class Block(nn.Module):
    """A large spatial conv and a pointwise MLP, residual: [n c h w] -> [n c h w]."""

    def __init__(self, channels: int, kernel: int, expansion: int, rank: int) -> None:
        super().__init__()
        spatial: nn.Module = nn.Conv2d(
            channels, channels, kernel, padding=kernel // 2, groups=channels
        )
        if rank:
            spatial = ChannelSelectionConv2d(
                channels, channels, kernel, padding=kernel // 2, rank=rank
            )
        self.body = nn.Sequential(
            spatial,
            LayerNorm(channels),
            nn.Conv2d(channels, expansion * channels, 1),
            GELU(),
            nn.Conv2d(expansion * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ConvNeXt(RestorationNet):
    """[n image_channels+extra_channels h w] -> [n image_channels h w] in [0, 1], any size.

    ``layers`` blocks on patches of 2x2 pixels. Simplified: no layer scale and no stochastic depth.
    ``rank`` > 0 puts a channel selection of that rank (pointwise, then depthwise) in place of the
    depthwise conv. Images are padded to multiples of two.
    """

    patch = 2

    def __init__(
        self,
        *,
        image_channels: int = 1,
        extra_channels: int = 0,
        layers: int = 8,
        width: int = 96,
        kernel: int = 9,
        expansion: int = 3,
        rank: int = 0,
    ) -> None:
        super().__init__(image_channels, extra_channels)
        self.layers, self.kernel = layers, kernel
        self.stem = nn.Conv2d(self.input_channels, width, 2, stride=2)
        self.blocks = nn.Sequential(*(Block(width, kernel, expansion, rank) for _ in range(layers)))
        self.head = nn.Sequential(
            LayerNorm(width),
            nn.Conv2d(width, 4 * image_channels, 1),
            Rearrange("n (c two2 two) h w -> n c (h two2) (w two)", two=2, two2=2),
            nn.Sigmoid(),
        )

    def receptive_field(self) -> int:
        return 2 * (1 + self.layers * (self.kernel - 1))

    def compute(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images)))
