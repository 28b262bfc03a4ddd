"""U-Net with attention at the smallest level (Ronneberger et al., arXiv 1505.04597)."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import GELU, Attention, LayerNorm, RestorationNet, conv3x3


class Block(nn.Module):
    """Two pre-activated convs beside a shortcut: [n i h w] -> [n o h w] (arXiv 1603.05027)."""

    def __init__(self, i: int, o: int, rank: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.BatchNorm2d(i), GELU(), conv3x3(i, o, rank=rank),
            nn.BatchNorm2d(o), GELU(), conv3x3(o, o, rank=rank),
        )  # fmt: skip
        self.shortcut = nn.Conv2d(i, o, 1, bias=False) if i != o else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.convs(x)


class PositionMixer(nn.Module):
    """An MLP over the positions, the same for each channel, residual: [n c h w] -> [n c h w].

    MLP-Mixer's token mixing (arXiv 2105.01601): unlike convs and attention it knows each position.
    Its layers are 1x1 convs because Muon trains convs' kernels.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        positions = height * width
        self.norm, self.height = LayerNorm(channels), height
        self.mlp = nn.Sequential(
            nn.Conv2d(positions, 2 * positions, 1),
            nn.GELU(),
            nn.Conv2d(2 * positions, positions, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(rearrange(self.norm(x), "n c h w -> n (h w) c 1"))
        return x + rearrange(y, "n (h w) c 1 -> n c h w", h=self.height)


class UNet(RestorationNet):
    """[n image_channels+extra_channels h w] -> [n image_channels h w] in [0, 1], any size.

    Two strided convs halve the size, from ``width`` channels to 2 and about 3.5 times as many; the
    way up concatenates the features of the way down. Simplified: batch norm, residual blocks,
    nearest-neighbour upsampling, one attention block in the middle. ``rank`` > 0 makes the 3x3
    convs of the blocks channel selections of that rank. Images are padded to multiples of four.

    ``mixer`` puts three MLPs over the positions into the middle. The net then takes images of
    ``size`` (height, width) only.
    """

    patch = 4

    def __init__(
        self,
        *,
        image_channels: int = 1,
        extra_channels: int = 0,
        size: tuple[int, int] = (28, 28),
        width: int = 32,
        rank: int = 0,
        mixer: bool = False,
    ) -> None:
        super().__init__(image_channels, extra_channels, size if mixer else None)
        a, b, c = width, 2 * width, 7 * width // 8 * 4  # four heads in the middle
        self.stem = conv3x3(self.input_channels, a)
        self.down1, self.down2 = Block(a, a, rank), Block(b, b, rank)
        self.shrink1, self.shrink2 = conv3x3(a, b, stride=2), conv3x3(b, c, stride=2)
        middle = [Block(c, c, rank), Attention(c), Block(c, c, rank)]
        if mixer:
            low = [-(-side // 4) for side in size]
            mixers = [PositionMixer(c, *low) for _ in range(3)]
            middle = [mixers[0], *middle[:2], mixers[1], middle[2], mixers[2]]
        self.middle = nn.Sequential(*middle)
        self.grow2, self.grow1 = nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)
        self.up2, self.up1 = Block(2 * b, b, rank), Block(2 * a, a, rank)
        self.head = nn.Sequential(nn.BatchNorm2d(a), GELU(), nn.Conv2d(a, image_channels, 3, 1, 1))

    def compute(self, images: Tensor) -> Tensor:
        a = self.down1(self.stem(images))
        b = self.down2(self.shrink1(a))
        c = self.middle(self.shrink2(b))
        b = self.up2(torch.cat([F.interpolate(self.grow2(c), scale_factor=2.0), b], dim=1))
        a = self.up1(torch.cat([F.interpolate(self.grow1(b), scale_factor=2.0), a], dim=1))
        return self.head(a).sigmoid()
