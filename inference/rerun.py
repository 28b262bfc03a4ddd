"""Train an earlier run again and say whether it gives the same numbers."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.errors import InputError
from experiment.describe import differences
from experiment.display import fallback_reason
from experiment.run import run
from experiment.settings import Settings, command_of, stored_values
from inference.load import check_ended
from models.registry import NETS
from reports.collect import collect
from tasks.registry import make_task
from tracking.folder import find_run_folder
from tracking.record import RunRecord, read_run_folder

NOISE = 1e-3  # relative: what other devices, threads or library versions do to a figure at most
NOT_REPLAYED = ("resume", "runs_dir", "mode", "device", "data_root", "name", "checkpoint_every")


def rerun(source: str, given: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Train the run ``source`` (a run folder, an id, a W&B path) again; 0 if its numbers came back.

    ``given`` overrides where and on what it runs: device, mode, runs_dir, data_root. Raises
    ``InputError`` for a source that is not one whole run, or whose data are not here.
    """
    before = _one_run(source, Path(given.get("runs_dir", "runs")))
    settings = settings_of(before.config, given)
    _check_data(before, settings)
    say(f"training {before.name} ({before.id}) again")
    result = run(settings, extra_config={"rerun_of": before.id})
    if result.state != "finished":
        return result.exit_code
    after = read_run_folder(result.folder)
    now, then = after.config["environment"], before.config.get("environment", {})
    changed = [f"differs   {line}" for line in differences(then, now)]
    for line in changed or ["same code, libraries and device"]:
        say(line)
    verdict, worst, lines = compare(before.last, after.last)
    for line in lines:
        say(line)
    say(f"the numbers {verdict}{f' (largest relative difference {worst:.2g})' if worst else ''}")
    return 0 if worst <= NOISE else 1


def settings_of(config: Mapping[str, Any], given: Mapping[str, str]) -> Settings:
    """The settings of a run's config, on the data and in the arithmetic that it really used."""
    stored = {k: v for k, v in stored_values(config).items() if k not in NOT_REPLAYED}
    dataset, environment = config.get("dataset", {}), config.get("environment", {})
    command = command_of(config)
    fallback = fallback_reason(dataset) and NETS[command].task == "classification"  # in colour
    if stored.get("data") == "auto" and not fallback:
        stored["data"] = dataset.get("name", "auto")
    stored["precision"] = environment.get("precision", stored.get("precision", "auto"))
    stored["name"] = f"{config.get('run_name', 'run')}-rerun"
    return Settings.parse(command, stored | dict(given))


def compare(
    before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[str, float, list[str]]:
    """A verdict on the final metrics, the largest relative difference, and a line for each."""
    keys = [k for k in before if k.startswith(("train/", "val/", "test/")) and k in after]
    keys = [k for k in keys if k != "train/grad_norm"]  # rounding changes it more than the figures
    lines, worst = [], 0.0 if keys else math.inf
    for key in keys:
        a, b = before[key], after[key]
        difference = 0.0 if a == b else abs(a - b) / max(abs(a), abs(b))
        worst = max(worst, difference if math.isfinite(difference) else math.inf)
        lines.append(f"{key:<14} was {a:.8g}, is {b:.8g}")
    if not keys:
        verdict = "cannot be compared: the run recorded none"
    elif worst == 0:
        verdict = "match exactly"
    else:
        verdict = "match within float noise" if worst <= NOISE else "do NOT match"
    return verdict, worst, lines


def _one_run(source: str, runs_dir: Path) -> RunRecord:
    records = collect([str(find_run_folder(source, runs_dir) or source)], runs_dir)
    if len(records) != 1:
        raise InputError(f"{source}: {len(records)} runs; give one, for example runs/NAME-ID")
    [record] = records
    check_ended(record, source)
    if record.state != "finished":
        raise InputError(
            f"{source}: the run is {record.state} ({record.reason}), not finished; train another "
            f"one with python train.py {record.command}"
        )
    if not record.last:
        raise InputError(f"{source}: the run recorded no final metrics to compare with")
    return record


def _check_data(before: RunRecord, settings: Settings) -> None:
    wanted, found = before.dataset.get("checksum"), make_task(settings).data
    if wanted and wanted != found.checksum:
        raise InputError(
            f"the data are not those of {before.id} (checksum {found.checksum[:12]} of "
            f"{found.source}, was {wanted[:12]} of {before.dataset.get('source')}); say "
            "where they are with --data-root"
        )
