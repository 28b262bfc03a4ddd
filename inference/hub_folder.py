"""A trained net as a folder to publish: weights, settings, model card. Nothing is uploaded."""

import shlex
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save

from common.errors import InputError
from common.files import json_text, write_folder
from experiment.settings import command_line, options_of
from inference.load import TrainedNet, check_ended, load_trained
from tasks.metrics import find, format_value
from tracking.record import FolderRun, read_run_folder

USE = """## Use

In convtune's folder:

```python
import json
from pathlib import Path
from inference.load import net_of
from safetensors.torch import load_file

folder = Path("PATH/OF/THIS/FOLDER")
settings, net = net_of(json.loads((folder / "config.json").read_text()))
net.load_state_dict(load_file(folder / "model.safetensors"))
```
"""


def write_hub_folder(run: Path, folder: Path) -> None:
    """Write ``model.safetensors``, ``config.json``, ``README.md`` and ``examples.png``.

    No path of this machine is in them. Raises ``InputError`` for what is no finished run's folder
    and for an existing target.
    """
    if not run.is_dir():
        raise InputError(f"{run}: not a run folder; give one, for example runs/NAME-ID")
    record = read_run_folder(run)
    check_ended(record, str(run))
    trained = load_trained(run)
    dataset, options = trained.config["dataset"], options_of(trained.settings.command)
    values = {k: v for k, v in trained.settings.flat().items() if options[k].identity}
    values["data"] = dataset["name"]
    kept = ("name", "checksum", "image_channels", "classes")
    config = values | {
        "command": trained.settings.command,
        "task": trained.settings.task_name,
        "dataset": {key: dataset.get(key) for key in kept},
    }
    weights = {name: x.contiguous() for name, x in trained.net.state_dict().items()}
    files = {
        "model.safetensors": save(weights, metadata={"format": "pt"}),
        "config.json": json_text(config, indent=2).encode(),
    }
    picture = run / "pictures" / "final.png"
    if picture.is_file():
        files["examples.png"] = picture.read_bytes()
    files["README.md"] = _card(record, trained, values, picture.is_file()).encode()
    write_folder(folder, files)


def _card(
    record: FolderRun, trained: TrainedNet, values: dict[str, Any], with_picture: bool
) -> str:
    settings, dataset = trained.settings, trained.config["dataset"]
    figures = {k: v for k, v in record.best.items() if find(k)} or dict(record.last)
    figures |= {k: v for k, v in record.last.items() if k.startswith("test/")}
    kind, does = "image-classification", f"tells {', '.join(trained.class_names)} apart"
    shown = "Images and what the net takes them for"
    if settings.task_name == "restoration":
        kind = "image-to-image"
        does = f"restores damaged images (`--corruption {values['corruption']}`)"
        shown = "Input, output, target, error"
    head = {"library_name": "pytorch", "pipeline_tag": kind, "datasets": [dataset["name"]]}
    picture = f"\n![{shown}](examples.png)\n" if with_picture else ""
    tested = any(key.startswith("test/") for key in figures)
    remark = "; `test/` metrics were taken once, with these weights" if tested else ""
    table = "\n".join(f"| `{key}` | {format_value(key, v)} |" for key, v in figures.items())
    return f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---

# {record.name}

A `{settings.command}` net of {record.summary.get("parameters", 0):,} parameters that {does}. \
Trained with convtune:

```bash
{command_line(settings.command, values)}
```

on `{shlex.quote(dataset["name"])}` ({"x".join(map(str, settings.data.height_width))} pixels; \
SHA-256 of its images {str(dataset.get("checksum"))[:12]}).
{picture}
## Metrics

| metric | value |
|---|---:|
{table}

The weights are those of the best validation{remark}.

{USE}"""
