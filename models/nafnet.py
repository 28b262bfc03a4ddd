"""NAFNet, small: gates in place of activations (Chen et al., arXiv 2204.04676)."""

import torch
from torch import Tensor, nn

from models.layers import LayerNorm, RestorationNet


class Gate(nn.Module):
    """SimpleGate: the product of the two halves of the channels, [n 2c h w] -> [n c h w]."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return a * b


class ChannelAttention(nn.Module):
    """Simplified channel attention: channels scaled by a linear map of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale(x.mean(dim=(2, 3), keepdim=True))


class Block(nn.Module):
    """NAFBlock: spatial part, then pointwise part, both residual: [n c h w] -> [n c h w]."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            LayerNorm(c), nn.Conv2d(c, 2 * c, 1), nn.Conv2d(2 * c, 2 * c, 3, 1, 1, groups=2 * c),
            Gate(), ChannelAttention(c), nn.Conv2d(c, c, 1),
        )  # fmt: skip
        self.pointwise = nn.Sequential(
            LayerNorm(c), nn.Conv2d(c, 2 * c, 1), Gate(), nn.Conv2d(c, c, 1)
        )
        self.beta, self.gamma = (nn.Parameter(torch.zeros(c, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.beta * self.spatial(x)
        return x + self.gamma * self.pointwise(x)


class NAFNet(RestorationNet):
    """[n image_channels+extra_channels h w] -> [n image_channels h w] in [0, 1], any size.

    ``width``, twice and four times it at three levels with ``blocks`` blocks each, skips added as
    published. Simplified: a sigmoid in place of the skip from the input. Images are padded to
    multiples of four.
    """

    patch = 4

    def __init__(
        self, *, image_channels: int = 1, extra_channels: int = 0, width: int = 32, blocks: int = 2
    ) -> None:
        super().__init__(image_channels, extra_channels)

        def stage(c: int) -> nn.Sequential:
            return nn.Sequential(*(Block(c) for _ in range(blocks)))

        def grow(c: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2))

        self.stem = nn.Conv2d(self.input_channels, width, 3, padding=1)
        self.down = nn.ModuleList(stage(width * k) for k in (1, 2))
        self.shrink = nn.ModuleList(
            nn.Conv2d(width * k, 2 * width * k, 2, stride=2) for k in (1, 2)
        )
        self.middle = stage(4 * width)
        self.grow = nn.ModuleList(grow(width * k) for k in (4, 2))
        self.up = nn.ModuleList(stage(width * k) for k in (2, 1))
        self.head = nn.Conv2d(width, image_channels, 3, padding=1)

    def compute(self, images: Tensor) -> Tensor:
        x, skips = self.stem(images), []
        for stage, shrink in zip(self.down, self.shrink, strict=True):
            x = stage(x)
            skips.append(x)
            x = shrink(x)
        x = self.middle(x)
        for grow, stage in zip(self.grow, self.up, strict=True):
            x = stage(grow(x) + skips.pop())
        return self.head(x).sigmoid()
