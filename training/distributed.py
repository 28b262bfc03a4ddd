"""Several processes on one run, started by torchrun: each computes its part of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from common.errors import InputError
from training.settings import HardwareSettings


@dataclass
class DistributedContext:
    """The processes of a run. Rank 0 tracks, saves and validates; the others only compute.

    With one process every method is a no-op.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        self._pending: tuple[Tensor, Any] | None = None

    @classmethod
    def from_environment(cls) -> DistributedContext:
        """From torchrun's environment variables; a single process without them."""
        if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        return cls(*(int(os.environ.get(name, 0)) for name in names))

    def assign_device(self, settings: HardwareSettings, batch_size: int) -> HardwareSettings:
        """The settings with this rank's device.

        Raises ``InputError`` for too small a batch, and for one GPU that all ranks would share.
        """
        if self.size == 1:
            return settings
        if self.size > batch_size:
            raise InputError(
                f"--batch-size {batch_size}: must be at least one image for each of the "
                f"{self.size} processes, for example --batch-size {self.size}"
            )
        if settings.device.startswith("cuda:"):
            raise InputError(
                f"--device {settings.device}: the {self.size} processes need a GPU each; use "
                "--device cuda"
            )
        on_cuda = settings.device == "auto" and torch.cuda.is_available()
        if on_cuda or settings.device == "cuda":
            return replace(settings, device=f"cuda:{self.local_rank}")
        return settings

    @contextmanager
    def connected(self, device: torch.device) -> Iterator[None]:
        """``with``: the process group, by NCCL on CUDA and by Gloo on CPU."""
        if self.size == 1:
            yield
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        store, rank, size = next(rendezvous("env://"))
        # torchrun keeps its store over a restart: addresses of dead processes must not be read.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore(f"attempt-{attempt}", store),
            rank=rank,
            world_size=size,
        )
        yield
        # Not after an error: both lines would wait for processes that are gone.
        if self._pending:  # Gloo aborts a process that exits during a reduction
            self._pending[1].wait()
        distributed.destroy_process_group()

    def prepare(self, model: nn.Module, device: torch.device) -> nn.Module:
        """``model`` with SyncBatchNorm (CUDA only)."""
        if self.size > 1 and device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model

    def wrap_ddp(self, net: nn.Module) -> nn.Module:
        """``net`` in DistributedDataParallel: gradients are averaged in the backward pass."""
        return nn.parallel.DistributedDataParallel(net) if self.size > 1 else net

    def scale_loss(self, loss: Tensor, images: int, batch_size: int) -> Tensor:
        """Scale the local loss so that DDP's average equals the global-batch mean."""
        return loss if self.size == 1 else loss * (images * self.size / batch_size)

    def mean(self, losses: dict[str, Tensor], images: int, batch_size: int) -> dict[str, Tensor]:
        """The global batch's means, the same on every rank (CUDA: no host sync)."""
        if self.size == 1:
            return losses
        values = torch.stack([loss.detach() for loss in losses.values()]) * (images / batch_size)
        distributed.all_reduce(values)
        return dict(zip(losses, values.unbind(), strict=True))

    def seed(self, seed: int, step: int) -> None:
        """Seed by step and rank, so that dropout differs between ranks and resumes exactly."""
        if self.size > 1:
            torch.manual_seed((seed * 1_000_003 + step) * self.size + self.rank)

    def broadcast(self, value: Any) -> Any:
        """Rank 0's ``value`` in every process."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def agree(self, stop: bool) -> bool:
        """Whether to stop after this step: rank 0's wish, the same answer on every rank.

        With several processes the answer comes one step later: it is sent during that step.
        """
        if self.size == 1:
            return stop
        flag = torch.tensor([float(stop and self.rank == 0)])
        sent, self._pending = self._pending, (flag, distributed.all_reduce(flag, async_op=True))
        if sent is None:
            return False
        sent[1].wait()
        return bool(sent[0].item())
