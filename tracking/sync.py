"""Upload to a W&B server what runs wrote offline, or could not send: all parts, in order."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from common.errors import InputError, RunError
from common.files import relative_to_cwd
from tracking import api, server
from tracking.folder import RunFolder, read_summary

INSPECT_SECONDS = 60  # for W&B's reader of one part
SYNC_SECONDS = 3600  # for the upload of one part
# WANDB_SERVICE: another process's service would continue an upload that was ended.
NOT_FOR_UPLOADS = ("WANDB_MODE", "WANDB_SILENT", "WANDB_SERVICE")
CUT_SHORT = "ends with an incomplete record"  # a killed process left it: all there is was sent


def last_offline_step(wandb_folder: Path, run_id: str) -> int:
    """The last step in the parts of a run, -1 where they hold none.

    Read by W&B's own tool, since a killed process leaves a part that lacks its tail.
    """
    steps = (_inspect(part).get("step") for part in _parts(wandb_folder, run_id))
    return max((int(step) for step in steps if step is not None), default=-1)


def _inspect(part: Path) -> dict[str, Any]:
    """What W&B's reader says of a part: step, project, entity, ...; empty if it says nothing."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(part)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", timeout=INSPECT_SECONDS
        )
        return json.loads(done.stdout) if done.returncode == 0 else {}
    except (subprocess.TimeoutExpired, ValueError):
        return {}


def _parts(wandb_folder: Path, run_id: str) -> list[Path]:
    """The folders that W&B's processes left of a run, one each, oldest first."""
    found = [path.parent for path in wandb_folder.glob(f"*run-*/run-{run_id}.wandb")]
    parts = [path for path in found if not path.is_symlink()]  # latest-run
    return sorted(parts, key=lambda path: path.name.removeprefix("offline-"))


def sync_command(run_folder: Path) -> str:
    """The command that uploads the run in ``run_folder``, as typed in the current folder."""
    return shlex.join(["python", "train.py", "sync", relative_to_cwd(run_folder)])


def sync(sources: Iterable[Path]) -> Iterator[str]:
    """Upload the runs in ``sources``: run folders, or folders of them; yields a line for each run.

    What is on the server already is passed over. Raises ``InputError`` where there is no run, no
    API key or no server, and for a run whose upload fails.
    """
    folders = []
    for source in sources:
        own = (source / "config.yaml").is_file()
        found = [source] if own else sorted(p.parent for p in source.glob("[!.]*/config.yaml"))
        if not found:
            raise InputError(
                f"{source}: no run there; give run folders or a folder of them, for example runs"
            )
        folders += found
    host = server.wandb_settings().base_url
    problem = server.key_problem(host)
    if problem:
        raise InputError(f"sync: {problem} for {host}; run wandb login, or set WANDB_API_KEY")
    if not server.answers(host):
        raise InputError(f"sync: the W&B server {host} does not answer; try again later")
    failed = []
    for folder in folders:
        try:
            yield f"{folder}: {_sync_run(folder)}"
        except RunError as error:
            failed.append(folder)
            yield f"{folder}: {error}"
    if failed:
        raise InputError(
            f"sync: {len(failed)} of {len(folders)} runs could not be uploaded whole; give the "
            f"same command again, the first is {sync_command(failed[0])}"
        )


def _sync_run(folder: Path) -> str:
    """Upload the parts of a run that are not on the server; returns what was done."""
    run, summary = RunFolder(folder), read_summary(folder)
    with contextlib.suppress(OSError):  # not ours to write: reading is enough
        free = run.lock()
        run.unlock()
        if not free:
            return "is still being written; give the command again when it has ended"
    run_id = summary.get("run_id") or folder.name.rpartition("-")[2]
    places = [folder / "wandb"]
    noted = (summary.get("wandb") or {}).get("folder")
    if noted and not (folder / "wandb" / Path(noted).name).exists():
        places.append(Path(noted).parent)  # of WANDB_DIR
    parts = [part for place in places for part in _parts(place, str(run_id))]
    parts = [part for part in parts if not any(part.glob("*.wandb.synced"))]
    for part in parts:
        _upload(part)
    if not parts:
        return "nothing to do"
    uploaded = f"{len(parts)} part{'s' * (len(parts) > 1)} uploaded to"
    about = _inspect(parts[-1])
    path = "/".join(about[key] for key in ("entity", "project", "run_id") if about.get(key))
    try:
        with api.translate_errors(path):
            url = api.connect().run(path).url
    except InputError:
        return f"{uploaded} the server"
    if summary := read_summary(folder):  # as it is now; reports find the run by the address
        summary["wandb"] = (summary.get("wandb") or {}) | {"url": url}
        with contextlib.suppress(OSError):  # not ours to write
            run.write_summary(summary)
    return f"{uploaded} {url}"


def _upload(part: Path) -> None:
    """Upload one part with W&B's own tool. Raises ``RunError``.

    One process each: W&B's tool stops at the first part that a killed process left. Its exit code
    is 0 even where it could not upload everything.
    """
    command = [sys.executable, "-m", "wandb", "sync"]
    if not part.name.startswith("offline-run-"):
        command.append("--include-online")
    env = {k: v for k, v in os.environ.items() if k not in NOT_FOR_UPLOADS}
    env["WANDB_DIR"] = str(part.parent.parent)  # else its log files go to the current folder
    process = subprocess.Popen(
        [*command, str(part)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", errors="replace", env=env,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=SYNC_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        _kill_service(process.pid)
        process.communicate()
        raise RunError(f"{part.name} was not uploaded within {SYNC_SECONDS} s") from None
    lines = output.strip().splitlines()
    failures = [line for line in lines if "ailed to sync" in line and CUT_SHORT not in line]
    if process.returncode or failures:
        _kill_service(process.pid)
        reason = (failures or lines or ["no reason given"])[-1]
        raise RunError(f"{part.name} could not be uploaded ({reason})")
    for file in part.glob("*.wandb"):
        file.with_suffix(".wandb.synced").touch()  # as W&B's tool marks whole offline parts


def _kill_service(pid: int) -> None:
    """Kill the service that W&B's tool ``pid`` has started; it has a session of its own.

    Left behind it would upload beside the next attempt, and the rows would be doubled.
    """
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            words = os.fsdecode(path.read_bytes()).split("\0")
            if Path(words[0]).name == "wandb-core" and str(pid) in words:
                os.kill(int(path.parent.name), signal.SIGKILL)
