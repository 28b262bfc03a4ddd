"""RED-Net, the closest published ancestor of ResConv (Mao, Shen and Yang, arXiv 1606.08921)."""

from torch import Tensor, nn

from models.layers import RestorationNet


class REDNet(RestorationNet):
    """[n image_channels+extra_channels h w] -> [n image_channels h w] in [0, 1], any size.

    ``layers`` 3x3 convs and as many 3x3 deconvs, all with ReLU and none with batch norm; every
    second conv's output is added to its mirrored deconv's. With stride 1 a deconv is a conv.
    Simplified: a sigmoid at the end in place of the skip from the input. With an even number of
    ``layers`` the innermost output is added to itself, which doubles it.
    """

    def __init__(
        self, *, image_channels: int = 1, extra_channels: int = 0, layers: int = 10, width: int = 64
    ) -> None:
        super().__init__(image_channels, extra_channels)
        inputs = [self.input_channels] + [width] * (layers - 1)
        self.encoder = nn.ModuleList(nn.Conv2d(i, width, 3, padding=1) for i in inputs)
        outputs = [width] * (layers - 1) + [image_channels]
        self.decoder = nn.ModuleList(nn.Conv2d(width, o, 3, padding=1) for o in outputs)
        for name, weight in self.named_parameters():
            if name.endswith("weight"):  # with PyTorch's own, 20 ReLU layers pass nothing on
                nn.init.kaiming_normal_(weight, nonlinearity="relu")

    def receptive_field(self) -> int:
        return 1 + 2 * (len(self.encoder) + len(self.decoder))

    def compute(self, images: Tensor) -> Tensor:
        x, skips = images, []
        for number, conv in enumerate(self.encoder, 1):
            x = conv(x).relu()
            skips.append(x if number % 2 == 0 else None)
        for conv in self.decoder[:-1]:
            skip = skips.pop()
            x = conv(x if skip is None else x + skip).relu()
        return self.decoder[-1](x).sigmoid()
