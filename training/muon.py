"""Muon for the kernels of convs, AdamW for everything else (K. Jordan, airbench94_muon)."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.6  # Nesterov
ITERATIONS = 3
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic Newton-Schulz iteration
NARROW = 8  # fewer inputs or outputs (the first and the last conv): not for Muon


def conv_kernels(net: nn.Module) -> list[Tensor]:
    """The kernels that Muon updates: of ungrouped convs at least ``NARROW`` wide."""
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    return [m.weight for m in convs if min(m.in_channels, m.out_channels) >= NARROW]


def orthogonalize(matrices: Tensor) -> Tensor:
    """[n r c] -> the nearest matrices with singular values of about 1; in bf16 on CUDA."""
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.mT).to(matrices.dtype)


class Muon(torch.optim.AdamW):
    """Fused AdamW over ``groups``, and Muon over ``kernels`` [out in kh kw].

    Kernels are flattened to [out in*kh*kw], scaled to norm sqrt(out) before each update, and
    do not decay; those of one shape are updated together. Like the fused optimizers it skips a
    step where ``found_inf`` (a scalar on the device) is 1.
    """

    found_inf: Tensor

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        kernels: Iterable[Tensor],
        *,
        muon_lr: float,
        **adamw: Any,
    ) -> None:
        super().__init__([*groups, {"params": list(kernels), "lr": muon_lr, "muon": True}], **adamw)

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of all parameters that have a gradient. No host-device sync."""
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        group = self.param_groups[-1]
        for kernel in group["params"]:
            if kernel.grad is not None:
                by_shape[kernel.shape].append(kernel)
        for kernels in by_shape.values():
            self._update(kernels, group["lr"])
        for kernel in group["params"]:
            kernel.grad = None  # AdamW passes over parameters without a gradient
        super().step()

    def _update(self, kernels: list[Tensor], lr: float) -> None:
        """Update ``kernels`` of one shape."""
        for kernel in kernels:
            if not self.state[kernel]:  # AdamW's loading expects a step of each state
                step = torch.zeros((), device=kernel.device)
                self.state[kernel] = {"step": step, "momentum": torch.zeros_like(kernel)}
        buffers = [self.state[kernel]["momentum"] for kernel in kernels]
        gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
        weights, old, gradient = (
            torch.stack([t.flatten(1) for t in tensors])
            for tensors in (kernels, buffers, gradients)
        )
        momentum = MOMENTUM * old + gradient
        update = orthogonalize(gradient + MOMENTUM * momentum)
        norms = weights.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
        moved = weights * (weights.shape[1] ** 0.5 / norms) - lr * update
        broken = self.found_inf.bool()
        for tensors, kept, new in (kernels, weights, moved), (buffers, old, momentum):
            for tensor, value in zip(tensors, torch.where(broken, kept, new), strict=True):
                tensor.copy_(value.view_as(tensor))
