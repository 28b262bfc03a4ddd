"""Upload to a W&B server what runs wrote offline, or could not send: all parts, in order."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError, RunError
from common.files import json_text, relative_to_cwd, write_text_atomically
from tracking import api, server
from tracking.folder import RunFolder, read_summary

INSPECT_SECONDS = 60  # for W&B's reader of one part
SYNC_SECONDS = 3600  # for the upload of one part
# WANDB_SERVICE: another process's service would continue an upload that was ended.
NOT_FOR_UPLOADS = ("WANDB_MODE", "WANDB_SILENT", "WANDB_SERVICE")
ADDRESS = re.compile(r"https?://\S+/runs/\S+")
CUT_SHORT = "ends with an incomplete record"  # a killed process left it: all there is was sent


@dataclass(frozen=True)
class Part:
    """A folder that one W&B process left of a run, and the last step in it."""

    folder: Path
    last_step: int


def parts_of(wandb_folder: Path, run_id: str) -> list[Part]:
    """The parts of run ``run_id`` that hold any steps, oldest first.

    Read by W&B's own tool, since a killed process leaves a part that lacks its tail.
    """
    steps = [(path, _inspect(path).get("step")) for path in _part_folders(wandb_folder, run_id)]
    return [Part(path, int(step)) for path, step in steps if step is not None]


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


def _part_folders(wandb_folder: Path, run_id: str) -> list[Path]:
    found = {path.parent for path in wandb_folder.glob(f"*run-*/run-{run_id}.wandb")}
    found = {path for path in found if not path.is_symlink()}  # latest-run
    return sorted(found, key=lambda path: path.name.removeprefix("offline-"))


def sync_command(run_folder: Path) -> str:
    """The command that uploads the run in ``run_folder``, as typed in the current folder."""
    return shlex.join(["python", "train.py", "sync", relative_to_cwd(run_folder)])


def sync(sources: Iterable[Path]) -> Iterator[str]:
    """Upload the runs in ``sources``: run folders, or folders of them; yields a line for each run.

    What is on the server already is passed over. Raises ``InputError`` where there is no run, no
    API key or no server, and for a run whose upload fails.
    """
    folders = [folder for source in sources for folder in _run_folders(source)]
    host = server.wandb_settings().base_url
    problem = server.key_problem(host)
    if problem:
        raise InputError(f"sync: {problem} for {host}; run wandb login, or set WANDB_API_KEY")
    if not server.answers(host):
        raise InputError(f"sync: the W&B server {host} does not answer; try again later")
    failed = []
    for folder in folders:
        if not _try_lock(folder):
            yield f"{folder}: is still being written; give the command again when it has ended"
            continue
        parts = [part for part in _part_folders_of(folder) if not _is_sent(part)]
        try:
            urls = [_upload(part) for part in parts]
        except RunError as error:
            failed.append(folder)
            yield f"{folder}: {error}"
            continue
        if not urls:
            yield f"{folder}: nothing to do"
            continue
        if urls[-1]:
            _note_url(folder, urls[-1])
        place = urls[-1] or "the server"
        yield f"{folder}: {len(urls)} part{'s' * (len(urls) > 1)} uploaded to {place}"
    if failed:
        raise InputError(
            f"sync: {len(failed)} of {len(folders)} runs could not be uploaded whole; give the "
            f"same command again, the first is {sync_command(failed[0])}"
        )


def _try_lock(folder: Path) -> bool:
    """Whether no process writes the run."""
    run = RunFolder(folder)
    try:
        free = run.lock()
    except OSError:  # not ours to write: reading is enough
        return True
    run.unlock()
    return free


def _run_folders(source: Path) -> list[Path]:
    if (source / "config.yaml").is_file():
        return [source]
    found = sorted(path.parent for path in source.glob("[!.]*/config.yaml"))
    if not found:
        raise InputError(
            f"{source}: no run there; give run folders or a folder of them, for example runs"
        )
    return found


def _part_folders_of(folder: Path) -> list[Path]:
    """The folders of the run's parts, wherever WANDB_DIR put them, oldest first."""
    summary = read_summary(folder)
    run_id = summary.get("run_id") or folder.name.rpartition("-")[2]
    places = [folder / "wandb"]
    noted = (summary.get("wandb") or {}).get("folder")
    if noted and not (folder / "wandb" / Path(noted).name).exists():
        places.append(Path(noted).parent)
    return [path for place in places for path in _part_folders(place, str(run_id))]


def _is_sent(part: Path) -> bool:
    return any(part.glob("*.wandb.synced"))


def _upload(part: Path) -> str | None:
    """Upload one part with W&B's own tool; returns the run's address, None if it is not known.

    One process each: W&B's tool stops at the first part that a killed process left. Its exit code
    is 0 even where it could not upload everything. Raises ``RunError``.
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
    said = output.strip().splitlines()
    failures = [line for line in said if "ailed to sync" in line and CUT_SHORT not in line]
    if process.returncode or failures:
        _kill_service(process.pid)
        reason = (failures or said or ["no reason given"])[-1]
        raise RunError(f"{part.name} could not be uploaded ({reason})")
    for file in part.glob("*.wandb"):
        file.with_suffix(".wandb.synced").touch()  # as W&B's tool marks whole offline parts
    found = ADDRESS.search("\n".join(said))
    return found[0] if found else _address_on_server(part)


def _address_on_server(part: Path) -> str | None:
    """The address of the part's run, asked of the server.

    W&B's tool asks its service for messages ten times a second and drops those of the last
    interval, so that the address of a short upload may be missing in its output.
    """
    about = _inspect(part)
    path = [about.get(key) for key in ("entity", "project", "run_id")]
    with contextlib.suppress(InputError), api.translate_errors(part.name):
        return api.connect().run("/".join(filter(None, path))).url
    return None


def _kill_service(pid: int) -> None:
    """Kill the service that W&B's tool ``pid`` has started; it has a session of its own.

    Left behind it would upload beside the next attempt, and the rows would be doubled.
    """
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            words = os.fsdecode(path.read_bytes()).split("\0")
            if Path(words[0]).name == "wandb-core" and str(pid) in words:
                os.kill(int(path.parent.name), signal.SIGKILL)


def _note_url(folder: Path, url: str) -> None:
    """Record where the run is now, so that reports find it."""
    path = folder / "summary.json"
    with contextlib.suppress(OSError, ValueError):  # a run without summary, or not ours to write
        summary = json.loads(path.read_text(encoding="utf-8"))
        summary["wandb"] = (summary.get("wandb") or {}) | {"url": url}
        write_text_atomically(path, json_text(summary, indent=2) + "\n")
