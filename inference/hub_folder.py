"""A trained net as a folder to publish: weights, settings, model card. Nothing is uploaded."""

import json
import shlex
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save

from common.errors import InputError
from common.files import json_text, write_folder
from experiment.describe import command_line
from experiment.settings import options_of
from inference.load import TrainedNet, load_trained
from tasks.metrics import find, format_value
from tracking.record import FolderRun, read_run_folder

CARD = """---
{head}---

# {name}

{what} Trained with convtune:

```bash
{command}
```

on {data} ({size}; SHA-256 of its images {checksum}).
{picture}
## Metrics

{table}

The weights are those of the best validation; `test/` metrics were taken once, with these weights.

## Use

In convtune's folder:

```python
import json
from inference.load import net_of
from safetensors.torch import load_file

settings, net = net_of(json.load(open("config.json")))
net.load_state_dict(load_file("model.safetensors"))
```
"""


def write_hub_folder(run: Path, folder: Path) -> None:
    """Write ``model.safetensors``, ``config.json``, ``README.md`` and ``examples.png``.

    Raises ``InputError`` for what is no finished run's folder and for an existing target.
    """
    if not run.is_dir():
        raise InputError(f"{run}: not a run folder; give one, for example runs/NAME-ID")
    record = read_run_folder(run)
    trained = load_trained(run, None, "")
    weights = {name: x.contiguous() for name, x in trained.net.state_dict().items()}
    files = {
        "model.safetensors": save(weights, metadata={"format": "pt"}),
        "config.json": json_text(_config(trained), indent=2).encode(),
    }
    picture = run / "pictures" / "final.png"
    if picture.is_file():
        files["examples.png"] = picture.read_bytes()
    files["README.md"] = _card(record, trained, "examples.png" in files).encode()
    write_folder(folder, files)


def _config(trained: TrainedNet) -> dict[str, Any]:
    """What rebuilds the net and repeats its training, without paths of this machine."""
    dataset = trained.config["dataset"]
    kept = ("name", "checksum", "image_channels", "classes")
    return json.loads(json_text(_settings(trained))) | {
        "command": trained.settings.command,
        "task": trained.settings.task_name,
        "dataset": {key: dataset.get(key) for key in kept},
    }


def _settings(trained: TrainedNet) -> dict[str, Any]:
    options, values = options_of(trained.settings.command), trained.settings.flat()
    known = {name: value for name, value in values.items() if options[name].identity}
    return known | {"data": trained.config["dataset"]["name"]}


def _card(record: FolderRun, trained: TrainedNet, with_picture: bool) -> str:
    settings, dataset = trained.settings, trained.config["dataset"]
    restores = settings.task_name == "restoration"
    best = {k: v for k, v in record.best.items() if find(k)} or dict(record.last)
    figures = best | {k: v for k, v in record.last.items() if k.startswith("test/")}
    kind = "image-to-image" if restores else "image-classification"
    head = {
        "library_name": "pytorch",
        "pipeline_tag": kind,
        "datasets": [dataset["name"]],
        "model-index": [
            {
                "name": record.name,
                "results": [
                    {
                        "task": {"type": kind},
                        "dataset": {"name": dataset["name"], "type": dataset["name"]},
                        "metrics": [
                            {"type": key.partition("/")[2], "name": key, "value": float(value)}
                            for key, value in figures.items()
                        ],
                    }
                ],
            }
        ],
    }
    what = (
        f"A `{settings.command}` net of {record.costs.get('parameters', 0):,} parameters that "
        + (f"restores images damaged by `{trained.settings.flat()['corruption']}`."
           if restores else f"tells {', '.join(trained.class_names)} apart.")
    )  # fmt: skip
    rows = [f"| `{key}` | {format_value(key, value)} |" for key, value in figures.items()]
    return CARD.format(
        head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True),
        name=record.name,
        what=what,
        command=command_line(settings.command, _settings(trained)),
        data=f"`{shlex.quote(dataset['name'])}`",
        size="x".join(map(str, settings.data.height_width)) + " pixels",
        checksum=str(dataset.get("checksum"))[:12],
        picture="\n![Input, output, target, error](examples.png)\n" if with_picture else "",
        table="\n".join(["| metric | value |", "|---|---:|", *rows]),
    )
