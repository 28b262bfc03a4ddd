"""U-Net with attention at the smallest level (Ronneberger et al., arXiv 1505.04597)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import GELU, Attention, check_images, conv3x3, pad_to_multiple


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


class UNet(nn.Module):
    """[n image_channels+extra_channels h w] -> [n image_channels h w] in [0, 1], any size.

    Two strided convs halve the size, from ``width`` channels to 2 and about 3.5 times as many; the
    way up concatenates the features of the way down. Simplified: batch norm, residual blocks,
    nearest-neighbour upsampling, one attention block in the middle. ``conv="select"`` makes the 3x3
    convs of the blocks channel selections of ``rank``. Images are padded to multiples of four.
    """

    def __init__(
        self,
        *,
        image_channels: int = 1,
        extra_channels: int = 0,
        width: int = 32,
        conv: str = "full",
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.input_channels = image_channels + extra_channels
        rank = rank if conv == "select" else 0
        a, b, c = width, 2 * width, 7 * width // 8 * 4  # four heads in the middle
        self.stem = conv3x3(self.input_channels, a)
        self.down1, self.down2 = Block(a, a, rank), Block(b, b, rank)
        self.shrink1, self.shrink2 = conv3x3(a, b, stride=2), conv3x3(b, c, stride=2)
        self.middle = nn.Sequential(Block(c, c, rank), Attention(c), Block(c, c, rank))
        self.grow2, self.grow1 = nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)
        self.up2, self.up1 = Block(2 * b, b, rank), Block(2 * a, a, rank)
        self.head = nn.Sequential(nn.BatchNorm2d(a), GELU(), nn.Conv2d(a, image_channels, 3, 1, 1))

    def receptive_field(self) -> None:
        """The whole image, through the attention."""

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.input_channels)
        height, width = images.shape[-2:]
        a = self.down1(self.stem(pad_to_multiple(images, 4)))
        b = self.down2(self.shrink1(a))
        c = self.middle(self.shrink2(b))
        b = self.up2(torch.cat([F.interpolate(self.grow2(c), scale_factor=2.0), b], dim=1))
        a = self.up1(torch.cat([F.interpolate(self.grow1(b), scale_factor=2.0), a], dim=1))
        return self.head(a).sigmoid()[..., :height, :width]
