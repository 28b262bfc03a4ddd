"""Fast Fourier convolution: a view of the whole image from the first layer (LaMa, arXiv 2109.07161,
with the unit of arXiv 2112.00722)."""

import torch
from einops import rearrange
from torch import Tensor, nn

from models.layers import GELU, RestorationNet


class SpectralUnit(nn.Module):
    """A pointwise conv in the frequency domain: [n c h w] -> [n c h w]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1, bias=False),
            nn.BatchNorm2d(2 * channels),
            GELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = x.float() if x.dtype.itemsize == 2 else x  # no FFT in half precision on most devices
        spectrum = torch.fft.rfft2(x, norm="ortho")
        parts = rearrange(torch.view_as_real(spectrum), "n c h w two -> n (c two) h w")
        parts = self.conv(parts).to(x.dtype)
        parts = rearrange(parts, "n (c two) h w -> n c h w two", two=2).contiguous()
        return torch.fft.irfft2(torch.view_as_complex(parts), s=(height, width), norm="ortho")


class Block(nn.Module):
    """Local 3x3 convs beside the spectral unit, mixed and residual: [n c h w] -> [n c h w]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.norm = nn.Sequential(nn.BatchNorm2d(channels), GELU())
        self.local = nn.Conv2d(channels, channels - half, 3, padding=1, bias=False)
        self.reduce, self.spectral = nn.Conv2d(channels, half, 1, bias=False), SpectralUnit(half)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        local, spectral = self.local(y), self.spectral(self.reduce(y))
        return x + self.mix(torch.cat([local, spectral.to(local.dtype)], dim=1))


class FourierNet(RestorationNet):
    """[n image_channels+extra_channels h w] -> [n image_channels h w] in [0, 1], any size.

    ``layers`` blocks at full resolution. Simplified: half of the channels are global in every
    block, no downsampling and no adversarial training.
    """

    def __init__(
        self, *, image_channels: int = 1, extra_channels: int = 0, layers: int = 6, width: int = 64
    ) -> None:
        super().__init__(image_channels, extra_channels)
        self.stem = nn.Conv2d(self.input_channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(layers)))
        self.head = nn.Sequential(
            nn.BatchNorm2d(width), GELU(), nn.Conv2d(width, image_channels, 3, padding=1)
        )

    def compute(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images))).sigmoid()
