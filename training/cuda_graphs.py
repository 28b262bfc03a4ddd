"""A net's forward and backward pass as CUDA graphs: two launches for some thousand kernels."""

import copy

import torch
from torch import Tensor, nn

from common.log import log
from training.hardware import Hardware


def record(net: nn.Module, inputs: Tensor, hardware: Hardware) -> nn.Module:
    """``net`` in training mode, its passes over batches like ``inputs`` [n c h w] recorded.

    The result shares the net's weights and computes the same; a step of small kernels otherwise
    waits for their launches. Weights, statistics and random state stay as they are. A net that
    cannot be recorded, such as one that reads a value back or recomputes activations, is given
    back as it is, with a warning.
    """
    # Gradients are accumulated on the recording's stream, for good; PyTorch warns of it each run.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    before = copy.deepcopy(net.state_dict())
    was_training = net.training
    # Another module around the net: recording replaces the ``forward`` of what it is given.
    shared: nn.Module = nn.Sequential(net).train()
    try:
        with (
            torch.random.fork_rng(devices=[hardware.device]),
            torch.autocast("cuda", hardware.dtype, hardware.reduced, cache_enabled=False),
        ):
            torch.cuda.make_graphed_callables(shared, (inputs.clone(),), allow_unused_input=True)
    except RuntimeError as error:
        shared = net
        log.warning(f"no CUDA graphs: this net cannot be recorded ({str(error).splitlines()[0]})")
    net.load_state_dict(before)
    net.train(was_training)
    return shared
