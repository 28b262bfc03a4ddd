"""A vision transformer on patches, as in masked autoencoders (He et al., arXiv 2111.06377)."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from models.layers import RestorationNet


class ViT(RestorationNet):
    """[n image_channels+extra_channels h w] -> [n image_channels h w] in [0, 1], any size.

    Patches of ``patch`` pixels a side become tokens with fixed sine positions, pass ``layers``
    pre-norm transformer layers and give back their pixels. Simplified: one encoder sees damaged
    patches too, so that damage may have any shape; no separate decoder. Images are padded to
    multiples of the patch.
    """

    def __init__(
        self,
        *,
        image_channels: int = 1,
        extra_channels: int = 0,
        layers: int = 6,
        width: int = 96,
        patch: int = 4,
    ) -> None:
        super().__init__(image_channels, extra_channels)
        self.patch, self.width = patch, width
        self.embed = nn.Linear(self.input_channels * patch**2, width)
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, nhead=4, dim_feedforward=4 * width, dropout=0, activation="gelu",
                batch_first=True, norm_first=True,
            )
            for _ in range(layers)
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, image_channels * patch**2), nn.Sigmoid()
        )

    def compute(self, images: Tensor) -> Tensor:
        p = self.patch
        rows, columns = (side // p for side in images.shape[-2:])
        x = self.embed(rearrange(images, "n c (h p) (w q) -> n (h w) (c p q)", p=p, q=p))
        x = x + sine_positions(rows, columns, self.width, x.device)
        for layer in self.encoder:
            x = layer(x)
        return rearrange(self.head(x), "n (h w) (c p q) -> n c (h p) (w q)", h=rows, p=p, q=p)


def sine_positions(rows: int, columns: int, width: int, device: torch.device) -> Tensor:
    """Sine and cosine of row and column at ``width`` / 4 frequencies each: [rows*columns width]."""
    frequencies = torch.exp(
        -math.log(10_000) * torch.arange(width // 4, device=device) / (width // 4)
    )
    row = torch.arange(rows, device=device)[:, None, None] * frequencies
    column = torch.arange(columns, device=device)[None, :, None] * frequencies
    parts = [row.sin(), row.cos(), column.sin(), column.cos()]
    whole = torch.cat([part.expand(rows, columns, -1) for part in parts], dim=-1)
    return rearrange(whole, "h w c -> (h w) c")
