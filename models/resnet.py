"""The small residual net of the channel-selection logbook (Kaggle, dog-vs-cat-vs-bird)."""

import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = (16, 16, 32, 32, 64, 64)


class Block(nn.Module):
    """conv-bn-relu-conv-bn plus a shortcut, then relu: [n i h w] -> [n o h/stride w/stride]."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


class SmallResNet(nn.Module):
    """Stem, six residual blocks of ``CHANNELS``, average pool, dropout, linear.

    [n c h w] floats -> [n classes] logits. 174,787 parameters for 3 channels and 3 classes; 27,363
    once the convs of ``blocks`` are channel selections of rank 1. The stem is an ordinary conv in
    both, as published.
    """

    def __init__(self, *, classes: int = 3, in_channels: int = 3, dropout: float = 0.2):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, CHANNELS[0], 3, padding=1)
        before = (CHANNELS[0], *CHANNELS[:-1])
        self.blocks = nn.Sequential(
            *(Block(i, o, stride=2 if o > i else 1) for i, o in zip(before, CHANNELS, strict=True))
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(CHANNELS[-1], classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))
