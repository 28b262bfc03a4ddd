"""Classifiers by name: the logbook's small net, or any of torchvision's, with either conv."""

import math

import torch
from torch import nn

from common.errors import nearest
from models.channel_selection import replace_convs
from models.resnet import SmallResNet


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
