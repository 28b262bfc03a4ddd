"""Where and in which arithmetic a run computes: device, precision, memory layout, compiler."""

import contextlib
import ctypes
import os
import platform
import re
import resource
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from common.errors import InputError
from training.settings import HardwareSettings

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Hardware:
    """What was chosen for a run."""

    device: torch.device
    dtype: torch.dtype  # the layers' arithmetic; weights stay float32
    compile: bool
    cuda_graphs: bool = False
    probe: Mapping[str, float] = field(default_factory=dict)  # what training.precision found

    def autocast(self) -> AbstractContextManager:
        """The layers' arithmetic; losses and metrics are computed outside of it."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.reduced)

    @property
    def reduced(self) -> bool:
        """Whether the layers compute in less than float32."""
        return self.dtype != torch.float32

    def prepare(self, model: nn.Module) -> nn.Module:
        """``model`` on the device, channels last (the fast layout of convs on CPU and CUDA)."""
        return model.to(self.device).to(memory_format=torch.channels_last)

    def compiled(self, model: nn.Module) -> nn.Module:
        return cast(nn.Module, torch.compile(model)) if self.compile else model

    def peak_memory_mib(self) -> float:
        """Peak MiB so far: allocated on the CUDA device, or resident in this process on CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        return _peak_resident_kib() / 2**10


def choose_hardware(settings: HardwareSettings) -> Hardware:
    """Resolve ``--device``, ``--precision``, ``--deterministic``.

    Raises ``InputError`` for a device that is not there or not CPU or CUDA.
    """
    device = _device(settings.device)
    if device.type == "cpu":
        _keep_freed_memory()
    else:
        if device.index is not None:
            torch.cuda.set_device(device)  # for code that takes no device argument
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = not settings.deterministic
    _reset_peak_memory(device)
    compilers = os.environ.get("CXX", "g++"), "clang++"
    if device.type == "cpu" and settings.compile and not any(map(shutil.which, compilers)):
        raise InputError("--compile: needs a C++ compiler on CPU, for example apt install g++")
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS demands it
    if settings.deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(settings.deterministic)  # it imports the compiler
    fast = _has_fast_bf16(device) if settings.precision == "auto" else settings.precision == "bf16"
    graphs = settings.cuda_graphs and device.type == "cuda" and not settings.compile
    return Hardware(device, DTYPES["bf16" if fast else "fp32"], settings.compile, graphs)


def _device(name: str) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    if not re.fullmatch(r"cpu(:0)?|cuda(:(0|[1-9][0-9]?))?", name):
        raise InputError(f"--device {name}: must be auto, cpu, cuda or cuda:N, such as cuda:0")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        known = f"{count} usable CUDA devices" if count else "no usable CUDA device"
        raise InputError(f"--device {name}: this machine has {known}; use --device cpu")
    return device


def _keep_freed_memory() -> None:
    """Let glibc's allocator keep the memory of one step for the next.

    Tensors above 32 MiB are otherwise returned to the system and allocated again in each step: at
    64x64 in fp32 a step takes 1.6 times as long (``benchmarks.ablation``). The price is more
    resident memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        m_trim_threshold, m_mmap_max = -1, -4
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, 2**31 - 1)


def _reset_peak_memory(device: torch.device) -> None:
    """Reset the peak: a sweep's worker trains several runs in one process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)  # what the run before has freed
    with contextlib.suppress(OSError):  # a system without it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # see proc(5)


def _peak_resident_kib() -> int:
    with contextlib.suppress(OSError):  # as above
        found = re.search(
            r"VmHWM:\s+(\d+)",
            Path("/proc/self/status").read_text(encoding="utf-8", errors="replace"),
        )
        if found:
            return int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _has_fast_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies in bf16 itself; emulated bf16 is far slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = _cpu_features()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def _cpu_features() -> dict[str, Any]:
    """The processor's name and instruction sets; empty where this PyTorch cannot tell."""
    return dict(getattr(torch.cpu, "get_capabilities", dict)())


def environment(hardware: Hardware) -> dict[str, Any]:
    """Device and library versions, for ``run.config``."""
    on_cuda = hardware.device.type == "cuda"
    used = sys.modules.get("torchvision")  # by nets that come from there
    processor = _cpu_features().get("cpu_name") or platform.processor() or platform.machine()
    return {
        "device": str(hardware.device),
        "device_name": torch.cuda.get_device_name(hardware.device) if on_cuda else str(processor),
        "threads": torch.get_num_threads(),
        "precision": next(name for name, dtype in DTYPES.items() if dtype == hardware.dtype),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": str(torch.__version__),
        **({"torchvision": str(used.__version__)} if used else {}),
        "cuda": torch.version.cuda if on_cuda else None,
        **({"precision_probe": dict(hardware.probe)} if hardware.probe else {}),
    }
