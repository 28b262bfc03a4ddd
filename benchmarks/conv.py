"""The channel-selection logbook's timing table: does the layer train faster than the full conv?

Claim (published): 10 epochs of the small net take 1.77x as long with channel selection, five
runs each. Here both convs, every implementation of the layer, memory formats, precisions and
``torch.compile`` train the same net on the same images, ten steps each in turn, in one process,
so that other work on the machine affects them alike.

    python train.py bench conv --epochs 10 --runs 5
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common import interleave, step_memory_mib, write
from common.files import require_writable_folder
from common.media import Examples, Table
from models.channel_selection import IMPLEMENTATIONS, ChannelSelectionConv2d
from models.classifiers import build_classifier
from tracking.folder import new_run_id
from tracking.server import choose_connection
from tracking.settings import TrackingSettings
from tracking.tracker import Tracker
from training.hardware import choose_hardware, environment
from training.settings import HardwareSettings

SHAPE = (3, 32, 32)
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TURN = 10  # steps of one variant before the next has its turn


Batches = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Variant:
    """One column of settings and one implementation of the convs."""

    conv: str  # "full" or "select"
    implementation: str  # "-" for full
    memory: str  # "contiguous" or "channels_last"
    precision: str  # "fp32" or "bf16"
    compiled: bool = False

    @property
    def settings(self) -> tuple[str, str, bool]:
        """What a variant shares with the full conv it is compared with."""
        return self.memory, self.precision, self.compiled


@dataclass
class Result:
    """Seconds of each run, and the memory of a step."""

    variant: Variant
    seconds: list[float] = field(default_factory=list)
    peak_memory_mib: float = math.nan
    failed: str = ""


def variants(*, bf16: bool, compiled: bool) -> list[Variant]:
    """Published pair first, then channels_last, bf16 and compiled where asked for."""
    columns = [("contiguous", "fp32"), ("channels_last", "fp32")]
    columns += [("channels_last", "bf16")] if bf16 else []
    table = []
    for memory, precision in columns:
        table.append(Variant("full", "-", memory, precision))
        table += [Variant("select", i, memory, precision) for i in (*IMPLEMENTATIONS, "auto")]
    if compiled:
        for memory, precision in columns[1:]:
            table.append(Variant("full", "-", memory, precision, True))
            table.append(Variant("select", "auto", memory, precision, True))
    return table


@dataclass(frozen=True)
class Plan:
    """How much to train: ``runs`` times ``epochs`` passes over ``images`` random images."""

    epochs: int = 10
    runs: int = 5
    images: int = 12_000
    batch_size: int = 128
    rank: int = 1
    bf16: bool = True
    compiled: bool = False

    @property
    def steps(self) -> int:
        """Steps of a run."""
        return self.epochs * -(-self.images // self.batch_size)


class Training:
    """A net of one variant with its optimizer (SGD with Nesterov momentum) and its batches."""

    def __init__(self, variant: Variant, rank: int, batches: Batches, device: torch.device) -> None:
        torch.manual_seed(0)
        self.variant, self.device = variant, device
        self.batches = itertools.cycle(batches)
        net = build_classifier(model="small", classes=3, shape=SHAPE, conv=variant.conv, rank=rank)
        for layer in net.modules():
            if isinstance(layer, ChannelSelectionConv2d):
                layer.implementation = variant.implementation
        net = net.to(device).to(memory_format=FORMATS[variant.memory])
        self.optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        self.model: Callable[[Tensor], Tensor] = torch.compile(net) if variant.compiled else net

    def step(self) -> None:
        """Train on the next batch."""
        images, labels = next(self.batches)
        bf16 = self.variant.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def measure(plan: Plan, device: torch.device) -> list[Result]:
    """Train every variant in turns of ``TURN`` steps."""
    images = torch.rand(plan.images, *SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    labels = (torch.arange(plan.images, device=device) % 3).split(plan.batch_size)
    batches = {
        name: list(
            zip(images.contiguous(memory_format=f).split(plan.batch_size), labels, strict=True)
        )
        for name, f in FORMATS.items()
    }
    results = [Result(v) for v in variants(bf16=plan.bf16, compiled=plan.compiled)]
    steps = {}
    for number, result in enumerate(results):
        variant = result.variant
        training = Training(variant, plan.rank, batches[variant.memory], device)
        try:
            training.step()
            if device.type == "cuda" or not variant.compiled:
                result.peak_memory_mib = step_memory_mib(training.step, device)
        except Exception as error:  # a missing compiler, say: the other variants still count
            if not variant.compiled:
                raise
            result.failed = str(error).strip().splitlines()[0][:120]
        else:
            steps[str(number)] = training.step
    turn = min(TURN, plan.steps)
    each = interleave(steps, rounds=plan.runs * (plan.steps // turn), turn=turn, device=device)
    for number, seconds in each.items():
        parts = zip(*[iter(seconds)] * (plan.steps // turn), strict=True)
        results[int(number)].seconds = [statistics.fmean(part) * plan.steps for part in parts]
    return results


def table_of(results: list[Result], plan: Plan) -> Table:
    """One row a variant: medians over runs, and the ratio to the full conv of its settings.

    The ratio is the median of the per-run ratios of times, each pair having run in turns.
    """
    full = {r.variant.settings: r for r in results if r.variant.conv == "full"}
    rows = []
    for result in results:
        v = result.variant
        cells = (v.conv, v.implementation, v.memory, v.precision, "yes" if v.compiled else "no")
        if result.failed:
            rows.append((*cells, *[None] * 6, result.failed))
            continue
        pairs = zip(result.seconds, full[v.settings].seconds, strict=False)
        ratios = [mine / other for mine, other in pairs] or [math.nan]
        middle = statistics.median(result.seconds)
        rows.append(
            (
                *cells,
                round(plan.epochs * plan.images / middle, 1),
                round(statistics.median(ratios), 3),
                f"{min(ratios):.2f}-{max(ratios):.2f}",
                round(result.peak_memory_mib, 1),
                round(middle * 10 / plan.epochs, 3),
                " ".join(f"{seconds:.3f}" for seconds in result.seconds),
                "",
            )
        )
    columns = (
        "conv", "implementation", "memory", "precision", "compiled", "images_per_second",
        "ratio_to_full", "ratio_range", "peak_memory_mib", "seconds_per_10_epochs",
        "seconds_of_runs", "note",
    )  # fmt: skip
    return Table("bench_conv", columns, rows)


def command_of(plan: Plan) -> str:
    """The command that measures this again."""
    command = f"python train.py bench conv --epochs {plan.epochs} --runs {plan.runs}"
    command += f" --images {plan.images} --batch-size {plan.batch_size} --rank {plan.rank}"
    return command + (" --compile" if plan.compiled else "")


def bench(plan: Plan, *, device: str, out: Path, mode: str | None, project: str | None) -> Table:
    """Measure, then write ``out``/conv.csv and conv.md and one W&B run with the table.

    bf16 is left out where the device has none. Raises ``InputError`` for a wrong device or rank.
    """
    require_writable_folder(out, "--out")
    connection = choose_connection(mode, project)
    hardware = choose_hardware(HardwareSettings(device=device))
    plan = replace(plan, bf16=hardware.dtype == torch.bfloat16)
    table = table_of(measure(plan, hardware.device), plan)
    about = environment(hardware)
    claim = f"Medians over the runs; ten epochs here are {10 * plan.images:,} images."
    write(out, "conv", table, hardware, claim, command_of(plan))
    tracker = Tracker(TrackingSettings(mode=mode, project=project), connection, out, "bench")
    config = asdict(plan) | {"task": "bench", "environment": about}
    tracker.start(
        run_id=new_run_id(), name="bench-conv", config=config, tags=["bench"], resumed=False
    )
    tracker.log_examples(Examples([table]), step=0)
    tracker.finish(0, {})
    return table
