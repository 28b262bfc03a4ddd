"""Isotropic ConvNeXt: large depthwise kernels at one resolution (arXiv 2201.03545, 2201.09792)."""

from einops.layers.torch import Rearrange
from torch import Tensor, nn

from models.channel_selection import ChannelSelectionConv2d
from models.layers import GELU, LayerNorm, check_images, pad_to_multiple


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


class ConvNeXt(nn.Module):
    """[n image_channels+extra_channels h w] -> [n image_channels h w] in [0, 1], any size.

    ``layers`` blocks on patches of 2x2 pixels. Simplified: no layer scale and no stochastic depth.
    ``rank`` > 0 puts a channel selection of that rank (pointwise, then depthwise) in place of the
    depthwise conv. Images are padded to multiples of two.
    """

    patch = 2  # pixels

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
        super().__init__()
        self.input_channels = image_channels + extra_channels
        self.layers, self.kernel = layers, kernel
        self.stem = nn.Conv2d(self.input_channels, width, self.patch, stride=self.patch)
        self.blocks = nn.Sequential(*(Block(width, kernel, expansion, rank) for _ in range(layers)))
        self.head = nn.Sequential(
            LayerNorm(width),
            nn.Conv2d(width, 4 * image_channels, 1),
            Rearrange("n (c two2 two) h w -> n c (h two2) (w two)", two=2, two2=2),
            nn.Sigmoid(),
        )

    def receptive_field(self) -> int:
        """Pixels, in one direction, that an output pixel can see."""
        return 2 * (1 + self.layers * (self.kernel - 1))

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.input_channels)
        height, width = images.shape[-2:]
        x = self.head(self.blocks(self.stem(pad_to_multiple(images, self.patch))))
        return x[..., :height, :width]
