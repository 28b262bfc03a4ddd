"""A multilayer perceptron on the pixels: the plain control."""

import itertools

from einops import rearrange
from torch import Tensor, nn

from models.layers import RestorationNet


class MLP(RestorationNet):
    """[n image_channels+extra_channels h w] -> [n image_channels h w] in [0, 1], one size only.

    ``layers`` hidden layers of ``width``.
    """

    def __init__(
        self,
        *,
        image_channels: int = 1,
        extra_channels: int = 0,
        size: tuple[int, int] = (28, 28),
        layers: int = 2,
        width: int = 256,
    ) -> None:
        super().__init__(image_channels, extra_channels, size)
        pixels = size[0] * size[1]
        widths = [self.input_channels * pixels] + [width] * layers
        hidden: list[nn.Module] = []
        for i, o in itertools.pairwise(widths):
            hidden += [nn.Linear(i, o), nn.BatchNorm1d(o), nn.GELU()]
        self.body = nn.Sequential(*hidden, nn.Linear(widths[-1], image_channels * pixels))

    def compute(self, images: Tensor) -> Tensor:
        x = self.body(rearrange(images, "n c h w -> n (c h w)")).sigmoid()
        height, width = images.shape[-2:]
        return rearrange(x, "n (c h w) -> n c h w", h=height, w=width)
