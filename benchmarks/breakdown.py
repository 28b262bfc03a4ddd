"""Where finished restoration runs are better than others: by side, by class, by near-duplicate.

Composite L1 on the validation images of each run (known pixels copied). Fashion-MNIST holds
near-duplicates across its two parts (arXiv 1906.08255): an image counts as one if its nearest
training image is within a mean difference of ``DUPLICATE``.

    python -m benchmarks.breakdown runs/baseline-... runs/unet-... --out results/restoration
"""

from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.common import hardware_of, out_option, write
from common.errors import InputError
from common.media import Table
from data.images import ImageData, to_float
from experiment import checkpoints
from experiment.run import make_trainer
from experiment.settings import Settings
from tasks.base import Part
from tasks.baselines import nearest_by_l1
from tasks.metrics import l1_composite
from tasks.restoration import Restoration
from tracking.folder import read_config, state_of
from training.fitter import Fitter
from training.hardware import choose_hardware

DUPLICATE = 0.02
CHUNK = 250
CLAIM = (
    "Composite L1 on the validation images, known pixels copied: all of them, without those whose "
    f"nearest training image is within a mean difference of {DUPLICATE}, by class, by damage."
)


def outputs_of(run: Path) -> tuple[list[Part], Restoration]:
    """Outputs (of the last weights), targets and masks of a finished restoration run, and its task.

    Raises ``InputError``.
    """
    config = read_config(run)
    if state_of(run) != "finished":
        raise InputError(f"{run}: its run is {state_of(run)}; give finished ones")
    settings = Settings.of_run(config, device="cpu", resume=None)
    trainer = make_trainer(settings, choose_hardware(settings.hardware))
    task = trainer.task
    if not isinstance(task, Restoration):
        raise InputError(f"{run}: a run of {settings.command}, which restores no images")
    if task.data.checksum != config["dataset"]["checksum"]:
        raise InputError(f"{run}: trained on other images than those that are here now")
    if isinstance(trainer, Fitter):
        trainer.train_step()
    else:
        trainer.net.load_state_dict(checkpoints.load(run / "checkpoints" / "last.pt")["model"])
    with trainer.evaluating():
        return list(task.outputs(trainer.forward, trainer.hardware.device)), task


def errors_of(run: Path) -> tuple[Tensor, Restoration]:
    """The composite L1 of each validation image [n], and the task. Raises ``InputError``."""
    parts, task = outputs_of(run)
    errors = [total / terms for total, terms in (l1_composite(*part) for part in parts)]
    return torch.cat(errors), task


def duplicates(data: ImageData) -> Tensor:
    """Whether each validation image has a training image within ``DUPLICATE``: bool [n]."""
    train, val = (to_float(split.images).flatten(1) for split in (data.train, data.val))
    gaps = [nearest_by_l1(part, train, 1)[1].squeeze(1) for part in val.split(CHUNK)]
    return torch.cat(gaps) / train.shape[1] <= DUPLICATE


def groups_of(task: Restoration) -> dict[str, Tensor]:
    """The validation images of each group: bool [n]."""
    data = task.data
    damage = [task.corruption.describe(v) for v in task.corruption.fixed(len(data.val)).tolist()]
    groups = {"all": torch.ones(len(data.val), dtype=torch.bool)}
    groups["without near-duplicates"] = ~duplicates(data)
    groups |= {name: data.val.labels == i for i, name in enumerate(data.class_names)}
    kinds = sorted(set(damage)) if len(set(damage)) > 1 else ()
    return groups | {kind: torch.tensor([d == kind for d in damage]) for kind in kinds}


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@out_option
def main(runs: tuple[Path, ...], out: Path) -> None:
    """Break the composite L1 of finished restoration RUNS down by side, class and duplicate."""
    names = [read_config(run)["run_name"] for run in runs]
    names = [n if names.count(n) == 1 else run.name for n, run in zip(names, runs, strict=True)]
    found = {name: errors_of(run) for name, run in zip(names, runs, strict=True)}
    tasks = [task for _, task in found.values()]
    if len({(task.data.checksum, task.options.corruption) for task in tasks}) > 1:
        raise InputError("the runs differ in their data or corruption; give comparable ones")
    rows: list[tuple[Any, ...]] = [
        (name, int(group.sum()), *(round(float(e[group].mean()), 5) for e, _ in found.values()))
        for name, group in groups_of(tasks[0]).items()
        if group.any()
    ]
    table = Table("breakdown", ("group", "images", *found), rows)
    click.echo(write(out, "breakdown", table, hardware_of("cpu"), CLAIM))


if __name__ == "__main__":
    main()
