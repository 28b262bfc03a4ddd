"""The channel-selection logbook's timing table: does the layer train faster than the full conv?

Claim (published): 10 epochs of the small net take 1.77x as long with channel selection, five
runs each. Here both convs, every implementation of the layer, memory formats, precisions and
``torch.compile`` train the same net on the same images, ten steps each in turn, in one process,
so that other work on the machine affects them alike.

    python train.py bench conv --epochs 10 --runs 5
"""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common import hardware_of, interleave, ratios, step_memory_mib, write
from common.files import require_writable_folder
from common.media import Examples, Table
from models.channel_selection import IMPLEMENTATIONS, ChannelSelectionConv2d
from models.classifiers import build_classifier
from tracking.folder import new_run_id
from tracking.server import choose_connection
from tracking.settings import TrackingSettings
from tracking.tracker import Tracker
from training.hardware import environment

SHAPE = (3, 32, 32)
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TURN = 10  # steps of one variant before the next has its turn
COLUMNS = (
    "conv", "implementation", "memory", "precision", "compiled", "images_per_second",
    "ratio_to_full", "ratio_range", "peak_memory_mib", "seconds_per_10_epochs",
    "seconds_of_runs", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How much to train: ``runs`` times ``epochs`` passes over ``images`` random images."""

    epochs: int
    runs: int
    images: int
    batch_size: int
    rank: int
    compiled: bool


@dataclass(eq=False)
class Variant:
    """One implementation of the convs under some settings, and what was measured of it."""

    conv: str  # "full" or "select"
    implementation: str  # "-" for full
    memory: str  # "contiguous" or "channels_last"
    precision: str  # "fp32" or "bf16"
    compiled: bool = False
    seconds: list[float] = field(default_factory=list)  # of each run
    peak_memory_mib: float = math.nan  # of a step
    failed: str = ""

    @property
    def settings(self) -> tuple[str, str, bool]:
        """What it shares with the full conv that it is compared with."""
        return self.memory, self.precision, self.compiled


def variants(*, bf16: bool, compiled: bool) -> list[Variant]:
    """Published pair first, then channels_last, bf16 and compiled where asked for."""
    columns = [("contiguous", "fp32"), ("channels_last", "fp32")]
    columns += [("channels_last", "bf16")] if bf16 else []
    table = []
    for memory, precision in columns:
        table.append(Variant("full", "-", memory, precision))
        table += [Variant("select", i, memory, precision) for i in (*IMPLEMENTATIONS, "auto")]
    for memory, precision in columns[1:] if compiled else ():
        table.append(Variant("full", "-", memory, precision, True))
        table.append(Variant("select", "auto", memory, precision, True))
    return table


def step_of(
    variant: Variant, rank: int, batches: Sequence[tuple[Tensor, Tensor]], device: torch.device
) -> Callable[[], None]:
    """A training step of the small net (SGD with Nesterov momentum), batch after batch."""
    torch.manual_seed(0)
    rank = rank if variant.conv == "select" else 0
    net = build_classifier(model="small", classes=3, shape=SHAPE, rank=rank)
    for layer in net.modules():
        if isinstance(layer, ChannelSelectionConv2d):
            layer.implementation = variant.implementation
    net = net.to(device).to(memory_format=FORMATS[variant.memory])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    model = torch.compile(net) if variant.compiled else net
    endless = itertools.cycle(batches)

    def step() -> None:
        images, labels = next(endless)
        bf16 = variant.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(plan: Plan, table: list[Variant], device: torch.device) -> None:
    """Train every variant of ``table`` in turns of ``TURN`` steps."""
    images = torch.rand(plan.images, *SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    labels = (torch.arange(plan.images, device=device) % 3).split(plan.batch_size)
    batches = {
        name: list(
            zip(images.contiguous(memory_format=f).split(plan.batch_size), labels, strict=True)
        )
        for name, f in FORMATS.items()
    }
    steps = {}
    for variant in table:
        step = step_of(variant, plan.rank, batches[variant.memory], device)
        try:
            step()
            if device.type == "cuda" or not variant.compiled:
                variant.peak_memory_mib = step_memory_mib(step, device)
        except Exception as error:  # a missing compiler, say: the other variants still count
            if not variant.compiled:
                raise
            variant.failed = str(error).strip().splitlines()[0][:120]
        else:
            steps[variant] = step
    each = plan.epochs * len(labels)
    turn = min(TURN, each)
    turns = each // turn  # of a run
    found = interleave(steps, rounds=plan.runs * turns, turn=turn, device=device)
    for variant, seconds in found.items():
        runs = zip(*[iter(seconds)] * turns, strict=True)
        variant.seconds = [statistics.fmean(run) * each for run in runs]


def row_of(variant: Variant, full: Variant, plan: Plan) -> tuple[object, ...]:
    """Medians over runs, and of the runs' ratios to the ``full`` conv of the same settings."""
    v = variant
    settings = (v.conv, v.implementation, v.memory, v.precision, "yes" if v.compiled else "no")
    if v.failed or full.failed:
        return *settings, *[None] * 6, v.failed or full.failed
    middle = statistics.median(v.seconds)
    return (
        *settings,
        round(plan.epochs * plan.images / middle, 1),
        *ratios(v.seconds, full.seconds),
        round(v.peak_memory_mib, 1),
        round(middle * 10 / plan.epochs, 3),
        " ".join(f"{seconds:.3f}" for seconds in v.seconds),
        "",
    )


def bench(plan: Plan, *, device: str, out: Path, mode: str | None, project: str | None) -> str:
    """Measure, then write ``out``/conv.csv and conv.md and one W&B run with the table.

    bf16 is left out where the device has none. Returns the text of conv.md. Raises ``InputError``
    for a wrong device or rank.
    """
    require_writable_folder(out, "--out")
    connection = choose_connection(mode, project)
    hardware = hardware_of(device)
    measured = variants(bf16=hardware.dtype == torch.bfloat16, compiled=plan.compiled)
    measure(plan, measured, hardware.device)
    full = {v.settings: v for v in measured if v.conv == "full"}
    table = Table("bench_conv", COLUMNS, [row_of(v, full[v.settings], plan) for v in measured])
    claim = f"Medians over the runs; ten epochs here are {10 * plan.images:,} images."
    page = write(out, "conv", table, hardware, claim)
    tracker = Tracker(TrackingSettings(mode=mode, project=project), connection, out, "bench")
    config = asdict(plan) | {"task": "bench", "environment": environment(hardware)}
    tracker.start(
        run_id=new_run_id(), name="bench-conv", config=config, tags=["bench"], resumed=False
    )
    tracker.log_examples(Examples([table]), step=0)
    tracker.finish(0, {})
    return page
