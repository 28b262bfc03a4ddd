"""Run folders in the exact layout of training, made without training."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from experiment.identity import default_name, identity
from experiment.settings import Settings

SIDES = ("left", "right", "top", "bottom")
CLASSES = ("T-shirt/top", "Trouser", "Bag")


def fake_run(
    folder: Path, run_id: str, loss: float, *, task: str = "resconv", sweep: str | None = None,
    state: str = "finished", images: int = 180_000, parameters: int = 186_787,
    seconds: float = 120.0, receptive_field: int = 45, dataset: str = "fashion-mnist",
    pictures: bool = False, sweep_file: str | None = None, **settings: Any,
) -> Path:  # fmt: skip
    """Write ``folder/<name>-<run_id>`` and return it; ``settings`` are options of ``task``."""
    chosen = Settings.parse(task, settings)
    name = chosen.tracking.name or default_name(chosen)
    run = folder / f"{name.replace('/', '_')[:60]}-{run_id}"
    run.mkdir(parents=True)
    config = chosen.flat() | {
        "task": task,
        "identity": identity(chosen),
        "project": chosen.tracking.project or "convtune",
        "dataset": {"name": dataset, "checksum": "ab" * 32, "classes": list(CLASSES)},
        "network": {"parameters": parameters, "receptive_field": receptive_field},
    }
    if sweep:
        config["sweep"] = {"name": sweep, "file": sweep_file or f"{sweep}.yaml", "point": "0"}
    config |= {"run_id": run_id, "run_name": name}
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    metric = chosen.task.objective
    last = {metric: loss, "train/l1": loss * 0.9}
    if task == "classify":
        last |= {"test/accuracy": loss - 0.01}
    if task == "resconv":
        last |= {"val/l1_erased": loss * 2, "val/psnr": 20.0}
    summary = {
        "run_id": run_id, "name": name, "task": task, "state": state, "reason": None,
        "parameters": parameters, "receptive_field": receptive_field, "multiply_adds": 10**8,
        "seconds": seconds, "images_seen": images, "images_total": images,
        "images_per_second": images / seconds, "last": last, "best": {metric: loss},
        "wandb": {"mode": "offline", "url": None, "folder": None, "sync_command": None},
    }  # fmt: skip
    (run / "summary.json").write_text(json.dumps(summary))
    _write_metrics(run, metric, loss, images)
    if pictures:
        _write_pictures(run, loss)
    return run


def _write_metrics(run: Path, metric: str, loss: float, images: int) -> None:
    with open(run / "metrics.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "images_seen", "epoch", "train/l1", metric])
        for step in range(1, 11):
            fall = loss * (1 + 2 / step)
            value = fall - loss * 0.2 if step % 2 == 0 else ""
            writer.writerow([step, images * step // 10, step * 0.3, fall, value])
        writer.writerow([11, images, 3.0, "", loss])


def _write_pictures(run: Path, loss: float) -> None:
    demo = run / "pictures" / "demo"
    demo.mkdir(parents=True)
    overview = Image.new("L", (2 * (4 * 28 + 2) + 2, 6 * (28 + 2) + 2))
    overview.save(run / "pictures" / "images-000090000.png")
    (run / "tables").mkdir()
    with open(run / "tables" / "reconstructions.csv", "w", newline="") as file:
        writer = csv.writer(file)
        kinds = ("input", "output", "target", "error")
        writer.writerow(["index", "class", "side", "l1", "l1_erased", *kinds])
        for index in range(len(CLASSES) * len(SIDES)):
            names = [f"pictures/demo/{index}-{kind}.png" for kind in kinds]
            for shade, name in enumerate(names):
                (run / name).write_bytes(_png(index * 15 + shade * 20))
            writer.writerow([index, CLASSES[index % 3], SIDES[index % 4], loss, 2 * loss, *names])


def _png(shade: int) -> bytes:
    Image.new("L", (28, 28), shade).save(file := io.BytesIO(), "PNG")
    return file.getvalue()
