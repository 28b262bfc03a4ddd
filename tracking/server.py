"""Which W&B server a run would speak to, and whether that is possible now."""

from __future__ import annotations

import configparser
import netrc
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

from common.errors import InputError
from experiment.settings import RunSettings

DEFAULT_PROJECT = "convtune"
REACHABLE_SECONDS = 5
NO_KEY = "no W&B API key found"
CLOUD = ("https://api.forge.coreweave.com", "https://api.wandb.ai")  # its address now and before


def check(settings: RunSettings) -> None:
    """Raises ``InputError`` for what W&B would refuse when the run has already begun."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode not in ("online", "offline", "disabled", "dryrun", "run", "shared"):
        raise InputError(f"WANDB_MODE={mode}: must be online, offline or disabled")
    project = settings.project or os.environ.get("WANDB_PROJECT", DEFAULT_PROJECT)
    if len(project) > 128 or any(c in "/\\#?%:" for c in project):
        raise InputError(
            f"--project {project[:140]}: must be at most 128 characters without / \\ # ? % :, for "
            "example --project convtune"
        )
    if any(len(tag) > 64 for tag in settings.tags):
        raise InputError("--tags: a tag has at most 64 characters, for example --tags first,small")
    require_key(settings.mode)


def require_key(mode: str | None) -> None:
    """Raises ``InputError`` where ``mode``, or WANDB_MODE, asks for a server without a key."""
    if (mode or os.environ.get("WANDB_MODE")) == "online" and not _has_key(host()):
        asked = "--mode online" if mode else "WANDB_MODE=online"
        raise InputError(f"{asked}: {NO_KEY}; run wandb login, or give --mode offline")


def choose_mode(settings: RunSettings) -> tuple[str, str | None]:
    """W&B's mode and, if it is not what was asked for, the reason in one line.

    ``--mode`` or ``WANDB_MODE`` decide; else online with an API key and offline without one.
    An online run whose server does not answer goes offline.
    """
    asked = settings.mode or os.environ.get("WANDB_MODE") or "online"
    if asked in ("offline", "dryrun"):
        return "offline", None
    if asked == "disabled":
        return "disabled", None
    if not _has_key(host()):
        return "offline", f"{NO_KEY} (wandb login makes one)"
    if not answers(host()):
        return "offline", f"the W&B server {host()} does not answer"
    return "online", None


def host() -> str:
    """The server: ``WANDB_BASE_URL``, else as ``wandb login`` noted it, else W&B's cloud."""
    if os.environ.get("WANDB_BASE_URL"):
        return os.environ["WANDB_BASE_URL"]
    folder = os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    noted = configparser.ConfigParser()
    try:
        noted.read([Path(folder).expanduser() / "settings", Path("wandb/settings")])
        return noted.get("default", "base_url", fallback=CLOUD[0])
    except (configparser.Error, UnicodeDecodeError):
        return CLOUD[0]


def _has_key(address: str) -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        keys = netrc.netrc(path)
    except (OSError, netrc.NetrcParseError):
        return False
    same = CLOUD if address.rstrip("/") in CLOUD else (address,)
    return any(keys.authenticators(urlparse(url).netloc) for url in same)


def answers(address: str) -> bool:
    """Whether the server answers, be it with a refusal, but not that it fails or has too much."""
    try:
        urllib.request.urlopen(address, timeout=REACHABLE_SECONDS).close()
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code != 429
    except (OSError, ValueError):
        return False
    return True
