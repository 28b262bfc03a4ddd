"""Classifiers by name: the logbook's small net, or any of torchvision's, with either conv."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import nearest
from models.channel_selection import replace_convs

CHANNELS = (16, 16, 32, 32, 64, 64)  # of the small net


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
    """The net of the channel-selection logbook (Kaggle, dog-vs-cat-vs-bird): six residual blocks.

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


def build_classifier(
    *,
    model: str,
    classes: int,
    shape: tuple[int, int, int],
    rank: int = 0,
    dropout: float = 0.2,
) -> nn.Module:
    """A new net: floats [n, *``shape``] (channels, height, width) -> [n classes] logits.

    ``rank`` > 0 swaps every conv that can be (of ``small`` all but the stem) for channel selection
    of that rank, capped at 1 for 1x1 convs. Raises ``ValueError`` for an unknown name, a net that
    cannot take ``shape``, or a rank that no kernel of the net can have.
    """
    if model == "small":
        net: nn.Module = SmallResNet(classes=classes, in_channels=shape[0], dropout=dropout)
        swapped = net.blocks
    else:
        net = swapped = _torchvision(model, classes)
        _check_shape(net, model, shape)
    if rank:
        convs = [m for m in swapped.modules() if isinstance(m, nn.Conv2d)]
        most = max((math.prod(conv.kernel_size) for conv in convs), default=1)
        if rank > most:
            raise ValueError(
                f"rank {rank}: must be from 1 to {most}, the area of the largest kernel of "
                f"model {model}, for example rank 1"
            )
        replace_convs(swapped, rank=rank)
    return net


def _torchvision(name: str, classes: int) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(
            f"model {name}: must be small or a torchvision classifier, for example resnet18."
            f"{nearest(name, ['small', *known])}"
        )
    # These two would return extra outputs in training, and spend a minute drawing their weights.
    extra = {}
    if name in ("googlenet", "inception_v3"):
        extra = {"aux_logits": False, "init_weights": False}
    return models.get_model(name, weights=None, num_classes=classes, **extra)


def _check_shape(net: nn.Module, name: str, shape: tuple[int, int, int]) -> None:
    """By a forward pass of two blank images: nets differ too much for a rule."""
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(2, *shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        size = "x".join(map(str, shape))
        raise ValueError(
            f"model {name}: cannot take {size} images ({str(error).splitlines()[0]}); "
            "try another size, for example 224"
        ) from error
    net.train()
