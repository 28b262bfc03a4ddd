"""Trained nets for other programs: ONNX, PyTorch's program format, and a folder to publish."""

import importlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError, RunError
from common.files import write_output
from common.log import log
from data.images import to_float
from inference.load import TrainedNet, load_trained
from models.channel_selection import to_plain_convs
from tasks.base import demo_indices
from tasks.classification import scaled, with_mirror
from tasks.registry import make_task
from tasks.restoration import net_inputs
from tasks.settings import ClassificationSettings, RestorationSettings

TOLERANCE = 1e-4  # of outputs in [0, 1], or of logits relative to the largest one


class ExportedNet(nn.Module):
    """A trained net with what surrounds it, from plain images to results.

    Inputs: ``images`` float [n c h w] in [0, 1], for restoration damaged as in training (erased
    pixels 0), and, where ``takes_mask``, ``mask`` bool [n 1 h w], true where pixels are damaged.
    Outputs: restored images, or logits [n classes].
    """

    def __init__(self, trained: TrainedNet) -> None:
        super().__init__()
        self.net, self.options = trained.net, trained.settings.task
        self.takes_mask = isinstance(self.options, RestorationSettings) and (
            self.options.mask_input or self.options.composite
        )

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        if isinstance(self.options, ClassificationSettings):
            return with_mirror(self.net, scaled(images), self.options.mirror_eval)
        given = images[:, :1] < 0 if mask is None else mask
        outputs = self.net(net_inputs(images, given, self.options))
        return torch.where(given, outputs, images) if self.options.composite else outputs


def export_program(run: Path, form: str, file: Path) -> str:
    """Write the best net of ``run`` as ``form``, "torch" or "onnx", to ``file``; returns a line.

    What was written gives the same outputs for the run's demo images. Raises ``InputError`` for a
    run without a trained net and for missing packages, ``RunError`` where the outputs differ.
    """
    trained = load_trained(run)
    to_plain_convs(trained.net)
    net = ExportedNet(trained).eval()
    inputs = demo_inputs(trained, net.takes_mask)
    with torch.no_grad():
        wanted = net(*inputs)
    if form == "onnx":
        importlib.import_module("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporters, about their own insides
        try:
            shapes = tuple({0: torch.export.Dim("n")} for _ in inputs)
            program = torch.export.export(net, inputs, dynamic_shapes=shapes)
            written, found = (_onnx if form == "onnx" else _torch)(program, inputs)
        except Exception as error:  # of many kinds, with pages of explanation
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise RunError(f"--to {form}: this net cannot be exported ({reason})") from None
    difference = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))
    if not difference <= TOLERANCE:
        raise RunError(f"--to {form}: the exported net's outputs differ by {difference:.2g}")
    write_output(file, lambda target: target.write(written))
    names = " and ".join(("images", "mask")[: len(inputs)])
    names = f"damaged {names}" if trained.settings.task_name == "restoration" else names
    return (
        f"Wrote {file}: {names} {list(inputs[0].shape[1:])} to {list(wanted.shape[1:])}, any "
        f"number of images; outputs differ by at most {difference:.1g} on {len(wanted)} demo images"
    )


def demo_inputs(trained: TrainedNet, with_mask: bool) -> tuple[Tensor, ...]:
    """The run's demo images (and masks); random ones where its data set is not on this machine."""
    settings = trained.settings
    height, width = settings.data.height_width
    try:
        task = make_task(settings)
    except InputError as error:
        log.warning(f"checked on random images, as the data set is not here: {error}")
        images = torch.rand(8, trained.channels, height, width, generator=torch.Generator())
        mask = torch.zeros(8, 1, height, width, dtype=torch.bool)
        mask[:, :, : height // 2] = True
    else:
        index = demo_indices(task.data.val.labels)
        images = to_float(task.data.val.images[index])
        if isinstance(settings.task, ClassificationSettings):
            return (images,)
        images, mask = task.corruption(images, task.corruption.demo(len(index)))
    return (images.contiguous(), mask) if with_mask else (images.contiguous(),)


def _torch(program: Any, inputs: tuple[Tensor, ...]) -> tuple[bytes, Tensor]:
    """The program as a file, and what is computed from ``inputs`` by that file."""
    torch.export.save(program, file := io.BytesIO())
    file.seek(0)
    return file.getvalue(), torch.export.load(file).module()(*inputs).detach()


def _onnx(program: Any, inputs: tuple[Tensor, ...]) -> tuple[bytes, Tensor]:
    """The same in ONNX, computed by onnxruntime where it is installed."""
    model = torch.onnx.export(program, dynamo=True, verbose=False)
    proto = model.model_proto  # pyright: ignore[reportOptionalMemberAccess]
    arrays = {value.name: x.numpy() for value, x in zip(proto.graph.input, inputs, strict=True)}
    try:
        session = importlib.import_module("onnxruntime").InferenceSession(proto.SerializeToString())
    except ModuleNotFoundError:
        session = importlib.import_module("onnx.reference").ReferenceEvaluator(proto)
    return proto.SerializeToString(), torch.from_numpy(session.run(None, arrays)[0])
