"""Whether bf16 is faster than fp32 and agrees with it, found by trying both on the net."""

import copy
import time
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.log import log
from data.batches import Batch
from tasks.base import Task
from training.distributed import DistributedContext
from training.hardware import DTYPES, Hardware
from training.settings import HardwareSettings

IMAGES = 8
PROBE_SECONDS = 2.0  # no further round begins after half of it
ROUNDS = 3
CLEARLY = 1.2  # times as long as fp32
WORTH_SECONDS = 0.05  # of a pass; shorter ones are noise, and the same command must decide alike
TOLERANCE = 1e-2  # mean difference of the outputs, as a share of their mean size


def choose_precision(
    settings: HardwareSettings,
    hardware: Hardware,
    task: Task,
    net: nn.Module,
    ranks: DistributedContext | None = None,
    stored: str | None = None,
) -> Hardware:
    """``hardware`` with the arithmetic of ``--precision auto``, rank 0's on every rank.

    A resumed run goes on in what it began with, ``stored``. Else a probe decides; an explicit
    ``--precision``, ``--deterministic``, CUDA and processors without bf16 need none.
    """
    ranks = ranks or DistributedContext()
    if settings.precision != "auto":
        return hardware
    # CUDA needs no trial: bf16 works there, and a timing would measure other processes too.
    in_doubt = hardware.reduced and hardware.device.type == "cpu"
    if stored:
        hardware = replace(hardware, dtype=DTYPES[stored])
    elif in_doubt and not settings.deterministic and not ranks.rank:
        train, index = task.data.train, torch.arange(IMAGES) % len(task.data.train)
        random = task.sample_parameters(torch.Generator().manual_seed(0), IMAGES)
        sample = task.prepare(Batch(train.images[index], train.labels[index], random))
        hardware = probe(hardware, net, sample.inputs)
    return replace(hardware, dtype=ranks.broadcast(hardware.dtype))


def probe(hardware: Hardware, net: nn.Module, inputs: Tensor) -> Hardware:
    """``hardware`` in bf16, or in fp32 where bf16 is wrong for ``net`` or clearly slower.

    Some PyTorch releases compute bf16 convs many times slower than fp32, or wrongly, on
    processors whose flags announce bf16 (pytorch #183815, #193951, #163347). ``inputs`` are
    prepared images [n c h w]. The result is kept in ``Hardware.probe``; the net, its statistics
    and the random state stay as they are.
    """
    choices = {name: replace(hardware, dtype=dtype) for name, dtype in DTYPES.items()}
    spent = dict.fromkeys(choices, float("inf"))
    outputs: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        trial = copy.deepcopy(net).to(memory_format=torch.channels_last)
        with torch.no_grad():
            for name, choice in choices.items():
                with choice.autocast():
                    outputs[name] = trial.eval()(inputs).float()
        trial.train()
        for choice in choices.values():
            _seconds(choice, trial, inputs)  # the first pass makes kernels
        start = time.perf_counter()
        for _ in range(ROUNDS):
            for name, choice in choices.items():
                spent[name] = min(spent[name], _seconds(choice, trial, inputs))
            if time.perf_counter() - start > PROBE_SECONDS / 2:
                break
    gap = F.l1_loss(outputs["bf16"], outputs["fp32"]) / outputs["fp32"].abs().mean()
    agrees, ratio = bool(gap <= TOLERANCE), spent["bf16"] / spent["fp32"]
    slow = ratio >= CLEARLY and spent["bf16"] >= WORTH_SECONDS
    finding = {"bf16_time_over_fp32": round(ratio, 3), "difference": round(float(gap), 6)}
    if agrees and not slow:
        return replace(choices["bf16"], probe=finding)
    why = f"takes {ratio:.1f} times as long" if agrees else f"differs by {float(gap):.1%}"
    log.info(f"--precision auto: fp32, because bf16 {why} on this machine")
    return replace(choices["fp32"], probe=finding)


def _seconds(hardware: Hardware, net: nn.Module, inputs: Tensor) -> float:
    """Processor time of one forward and backward pass: other processes do not count."""
    start = time.process_time()
    with hardware.autocast():
        loss = net(inputs).float().mean()
    loss.backward()
    net.zero_grad(set_to_none=True)
    return time.process_time() - start
