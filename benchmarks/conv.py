"""The channel-selection logbook's timing table: does the layer train faster than the full conv?

Claim (published): 10 epochs of the small net take 1.77x as long with channel selection, five
runs each. Here both convs, every way to compute the layer, memory formats, precisions and
``torch.compile`` train the same net on the same images, ten steps each in turn, in one process,
so that whatever else the machine does meets them alike.

    python train.py bench conv --epochs 10 --runs 5
"""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import time
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.channel_selection import ChannelSelectionConv2d
from models.classifiers import build_classifier

SHAPE = (3, 32, 32)
TURN = 10  # steps of one variant before the next has its turn


@dataclass(frozen=True)
class Variant:
    """One column of settings and one way to compute the convs."""

    conv: str  # "full" or "select"
    way: str  # "-" for full
    memory: str  # "contiguous" or "channels_last"
    precision: str  # "fp32" or "bf16"
    compiled: bool = False

    @property
    def settings(self) -> tuple[str, str, bool]:
        """What a variant shares with the full conv it is compared with."""
        return self.memory, self.precision, self.compiled


@dataclass
class Result:
    """Seconds of each run (``epochs`` epochs), and what they come to."""

    variant: Variant
    seconds: list[float] = field(default_factory=list)
    peak_memory_mib: float = 0.0
    failed: str = ""


def variants(*, compiled: bool) -> list[Variant]:
    """Published pair first, then channels_last, bf16 and, if asked for, compiled."""
    ways = ("permute", "pointwise", "merged", "auto")
    table = []
    for memory, precision in (
        ("contiguous", "fp32"), ("channels_last", "fp32"), ("channels_last", "bf16"),
    ):  # fmt: skip
        table.append(Variant("full", "-", memory, precision))
        table += [Variant("select", way, memory, precision) for way in ways]
    if compiled:
        for precision in ("fp32", "bf16"):
            table.append(Variant("full", "-", "channels_last", precision, True))
            table.append(Variant("select", "auto", "channels_last", precision, True))
    return table


class Trainer:
    """A net of one variant with its optimizer: SGD with Nesterov momentum."""

    def __init__(self, variant: Variant, rank: int, device: torch.device):
        torch.manual_seed(0)
        self.variant, self.device = variant, device
        net = build_classifier("small", classes=3, shape=SHAPE, conv=variant.conv, rank=rank)
        for layer in net.modules():
            if isinstance(layer, ChannelSelectionConv2d):
                layer.way = variant.way
        self.format = (
            torch.channels_last if variant.memory == "channels_last" else torch.contiguous_format
        )
        self.net = net.to(device, memory_format=self.format)
        self.optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        self.model: nn.Module = torch.compile(self.net) if variant.compiled else self.net

    def step(self, images: Tensor, labels: Tensor) -> None:
        bf16 = self.variant.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def train(self, images: Tensor, labels: Tensor, batch_size: int) -> float:
        """Seconds for one pass over ``images``."""
        images = images.contiguous(memory_format=self.format)
        _wait(self.device)
        start = time.perf_counter()
        for batch, truth in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            self.step(batch, truth)
        _wait(self.device)
        return time.perf_counter() - start

    def peak_memory_mib(self, images: Tensor, labels: Tensor) -> float:
        """Of one step: device memory on CUDA, bytes kept for the backward pass on CPU."""
        images = images.contiguous(memory_format=self.format)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.step(images, labels)
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
        with contextlib.nullcontext() if self.variant.compiled else hooks:
            self.step(images, labels)
        return sum(kept.values()) / 2**20 or math.nan


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    *, epochs: int, runs: int, images: int, batch_size: int, rank: int, device: torch.device,
    compiled: bool, say=lambda text: None,
) -> list[Result]:  # fmt: skip
    """Train every variant ``runs`` x ``epochs`` times over ``images`` random images, in turns."""
    pixels = torch.rand(images, *SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    labels = torch.randint(3, (images,), generator=torch.Generator().manual_seed(1)).to(device)
    results, trainers = [], []
    for variant in variants(compiled=compiled):
        result = Result(variant)
        results.append(result)
        try:
            trainer = Trainer(variant, rank, device)
            for _ in range(2):  # builds kernels, measures ways, compiles
                trainer.step(pixels[:batch_size].contiguous(memory_format=trainer.format),
                             labels[:batch_size])  # fmt: skip
            result.peak_memory_mib = trainer.peak_memory_mib(
                pixels[:batch_size], labels[:batch_size]
            )
            trainers.append((trainer, result))
        except Exception as error:  # a missing compiler, say: the other variants still count
            if not variant.compiled:
                raise
            result.failed = str(error).strip().splitlines()[0][:120]
    for run in range(runs):
        totals = [0.0] * len(trainers)
        for _ in range(epochs):
            for first in range(0, images, TURN * batch_size):
                part = slice(first, first + TURN * batch_size)
                for i, (trainer, _) in enumerate(trainers):
                    totals[i] += trainer.train(pixels[part], labels[part], batch_size)
        gc.collect()
        for (_, result), seconds in zip(trainers, totals, strict=True):
            result.seconds.append(seconds)
        say(f"run {run + 1} of {runs} done")
    return results


def rows(results: list[Result], *, epochs: int, images: int) -> list[dict[str, object]]:
    """One flat row a variant: medians over runs, ratio to the full conv of the same settings.

    The ratio is the median of the per-run ratios, each pair having run in turns.
    """
    full = {r.variant.settings: r for r in results if r.variant.conv == "full"}
    table = []
    for result in results:
        row: dict[str, object] = asdict(result.variant)
        if result.failed:
            table.append(row | {"note": result.failed})
            continue
        pairs = zip(result.seconds, full[result.variant.settings].seconds, strict=False)
        ratios = [mine / other for mine, other in pairs] or [math.nan]
        row["seconds_per_10_epochs"] = round(statistics.median(result.seconds) * 10 / epochs, 3)
        row["images_per_second"] = round(epochs * images / statistics.median(result.seconds), 1)
        row["ratio_to_full"] = round(statistics.median(ratios), 3)
        row["ratio_spread"] = f"{min(ratios):.2f}-{max(ratios):.2f}"
        row["peak_memory_mib"] = round(result.peak_memory_mib, 1)
        row["runs"] = " ".join(f"{s:.3f}" for s in result.seconds)
        table.append(row | {"note": ""})
    return table
