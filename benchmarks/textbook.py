"""The project's loop against a loop as textbooks have it.

The textbook: a DataLoader with two workers and transforms per image, fp32, contiguous tensors,
``ConvTranspose2d`` as the logbook wrote it, ``.item()`` and ``wandb.log`` every step (offline).
Same network, images, batch size and learning rates, by turns; the textbook loop in a process of
its own, where nothing of the project's settings (allocator, TF32, cuDNN) reaches it.

    python -m benchmarks.textbook
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.common import (
    COUNT,
    RemoteStep,
    benchmark,
    hardware_of,
    images,
    interleave,
    make_trainer,
    ratios,
    write,
)
from common.media import Table
from experiment.settings import Settings
from models.layers import Deconv
from models.resconv import ResConv
from tracking.api import offline_run
from training.trainer import Trainer

PREFETCHED = 4  # batches that a DataLoader with two workers holds ready
CLAIM = (
    "Training images a second, and how many times as fast as the textbook loop (median and range "
    "over the rounds, in which all took turns)."
)


class Halves(Dataset):
    """Images as transforms deliver them, one at a time, with a random half erased."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        self.transform = transforms.ToTensor()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        whole = self.transform(Image.fromarray(self.pixels[index, 0].numpy()))
        height, width = whole.shape[-2:]
        erased = whole.clone()
        side = int(torch.randint(4, ()))
        if side == 0:
            erased[..., : width // 2] = 0
        elif side == 1:
            erased[..., width // 2 :] = 0
        elif side == 2:
            erased[..., : height // 2, :] = 0
        else:
            erased[..., height // 2 :, :] = 0
        return erased, whole


def shuffled_batches(pixels: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches of a ``DataLoader``, epoch after epoch."""
    loader = DataLoader(
        Halves(pixels), batch_size, shuffle=True, drop_last=True, num_workers=2,
        persistent_workers=True, pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    while True:
        yield from loader


def use_conv_transpose(model: nn.Module) -> None:
    """Put ``ConvTranspose2d`` of the same function in place of the plain convs that ran for it."""
    for deconv in model.modules():
        if isinstance(deconv, Deconv) and isinstance(deconv.conv, nn.Conv2d):
            conv = deconv.conv
            k = conv.kernel_size[0]
            padding = k - 1 - int(conv.padding[0])
            written = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, k, padding=padding)
            weight = conv.weight.detach().transpose(0, 1).flip(2, 3)
            written.load_state_dict({"weight": weight, "bias": conv.state_dict()["bias"]})
            deconv.conv = written


def textbook_step(folder: str, device: torch.device, options: dict[str, Any]) -> Callable[[], None]:
    """The step of the textbook loop, logging to an offline W&B run in ``folder``."""
    run = offline_run(folder, "textbook")
    settings = Settings.parse("resconv", options)
    pixels = images(*settings.data.height_width).train.images
    model = ResConv(**settings.net.arguments(), image_channels=pixels.shape[1])
    use_conv_transpose(model)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.training.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10**6)
    batches = shuffled_batches(pixels, settings.training.batch_size)

    def step() -> None:
        inputs, targets = next(batches)
        inputs, targets = inputs.to(device), targets.to(device)
        optimizer.zero_grad()
        loss = F.l1_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.log({"loss": loss.item(), "lr": scheduler.get_last_lr()[0]})

    return step


def our_step(run: Any, training: Trainer) -> Callable[[], None]:
    """The project's step, with the row that it logs every so many steps."""

    def step() -> None:
        training.train_step()
        if training.at_log_interval:
            means = training.meter.read()
            training.check_finite()
            run.log({f"train/{name}": mean for name, mean in means.items()})

    return step


@benchmark
@click.option("--ks", multiple=True, default=["3", "3:9"], show_default=True)
@click.option("--layers", type=COUNT, default=11, show_default=True)
@click.option("--batch-size", type=COUNT, default=64, show_default=True)
@click.option("--turn", type=COUNT, default=10, show_default=True, help="Steps of one turn.")
@click.option("--compile", "compiled", is_flag=True, help="Measure torch.compile as well.")
def main(
    ks: tuple[str, ...], layers: int, batch_size: int, turn: int, compiled: bool,
    device: str, out: Path, rounds: int,
) -> None:  # fmt: skip
    """The project's loop against a textbook loop, fp32 and the default precision."""
    hardware = hardware_of(device)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        run = offline_run(folder, "textbook")
        for kernel in ks:
            options = {"ks": kernel, "layers": layers, "batch_size": batch_size, "device": device}
            Settings.parse("resconv", options)  # wrong options are refused before a process starts
            ours = {"ours, fp32": {"precision": "fp32"}, "ours": {}}
            if compiled:
                ours["ours, compiled"] = {"compile": True}
            with RemoteStep(
                hardware.device, textbook_step, folder, hardware.device, options
            ) as remote:
                steps: dict[str, Any] = {"textbook": remote}
                for name, more in ours.items():
                    steps[name] = our_step(run, make_trainer(**options | more))
                seconds = interleave(
                    steps, rounds=rounds, turn=turn, device=hardware.device, run_in=PREFETCHED
                )
            for name, mine in seconds.items():
                times, spread = ratios(seconds["textbook"], mine)
                speed = statistics.median(batch_size / s for s in mine)
                rows.append((kernel, name, round(speed, 1), times, spread))
        run.finish()
    columns = ("ks", "loop", "images_per_second", "times_textbook", "range")
    click.echo(write(out, "textbook", Table("textbook", columns, rows), hardware, CLAIM))


if __name__ == "__main__":
    main()
