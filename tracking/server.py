"""Where a run is tracked: mode, server and project, as W&B itself would resolve them.

Only options given to a command override W&B's settings files, variables and key lookup. wandb is
imported late, because that takes over a second.
"""

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from common.errors import InputError
from tracking.values import MAX_NAME, MAX_TAG

DEFAULT_PROJECT = "convtune"
REACHABLE_SECONDS = 5
NO_KEY = "no W&B API key found"
CLOUD = ("https://api.forge.coreweave.com", "https://api.wandb.ai")  # its address now and before


@dataclass(frozen=True)
class Connection:
    """How the runs of one command are tracked.

    ``mode`` is online, offline or disabled; ``reason`` is why it is not the requested one.
    ``arguments`` are those of wandb.init that differ from W&B's own settings; ``project`` and
    ``entity`` are those of an online sweep.
    """

    mode: str
    reason: str | None = None
    host: str = ""
    project: str = DEFAULT_PROJECT
    entity: str | None = None
    name: str | None = None  # WANDB_NAME
    tags: tuple[str, ...] = ()  # WANDB_TAGS
    job_type: str | None = None  # WANDB_JOB_TYPE
    arguments: dict[str, Any] = field(default_factory=dict)


def choose_connection(
    mode: str | None = None, project: str | None = None, entity: str | None = None
) -> Connection:
    """Resolve the options ``mode``, ``project`` and ``entity`` against W&B's own settings.

    Without an API key, or where the server does not answer, the mode is offline. Raises
    ``InputError`` for settings that W&B refuses, and for online asked for without a key.
    """
    check_project(project)
    if mode == "disabled":  # decided without loading wandb
        return Connection("disabled", name=os.environ.get("WANDB_NAME") or None)
    given = {"project": project, "entity": entity, "mode": mode}
    if mode in (None, "offline") and not _wandb_is_configured():
        given |= {"project": project or DEFAULT_PROJECT, "mode": "offline"}
        found = Connection("offline", None if mode else f"{NO_KEY} (wandb login makes one)")
    else:
        settings = wandb_settings()
        check_project(settings.project, "WANDB_PROJECT=")
        if project is None and settings.project is None:
            given["project"] = DEFAULT_PROJECT
        chosen, reason = _choose_mode(mode, settings)
        if chosen == "offline" and not settings._offline:
            given["mode"] = "offline"
        found = Connection(
            chosen, reason, settings.base_url, given["project"] or str(settings.project),
            entity or settings.entity, settings.run_name, tuple(settings.run_tags or ()),
            settings.run_job_type,
        )  # fmt: skip
    return replace(found, arguments={k: v for k, v in given.items() if v is not None})


def _wandb_is_configured() -> bool:
    """Whether any of W&B's variables or files exists; if none does, W&B need not be asked."""
    if any(name.startswith("WANDB_") for name in os.environ):
        return True
    netrc = os.environ.get("NETRC") or "~/.netrc"
    files = (netrc, "~/_netrc", "~/.config/wandb/settings", "wandb/settings", ".wandb/settings")
    return any(os.path.exists(os.path.expanduser(file)) for file in files)


def wandb_settings() -> Any:
    """W&B's settings of this process, from its files and variables, as wandb.init will use them.

    Raises ``InputError`` for a variable that W&B refuses.
    """
    import wandb
    from wandb.sdk import wandb_setup

    if os.path.expanduser("~") == "~":  # neither HOME nor an account, as in some containers
        os.environ["HOME"] = tempfile.mkdtemp(prefix="convtune-home-")
    # Else every command prints which settings files were loaded; warnings are still printed.
    wandb.termsetup(wandb.Settings(show_info=False), None)
    try:
        settings = wandb_setup.singleton().settings
    except Exception as error:
        wandb.teardown()  # else the next one finds these settings half loaded
        raise _settings_error(error) from None
    wandb.termsetup(settings.model_copy(update={"show_info": False}), None)
    return settings


def _settings_error(error: Exception) -> Exception:
    """The variable that W&B refuses, found by trying each by itself."""
    import wandb
    from pydantic import ValidationError
    from wandb.errors import Error

    for name, value in os.environ.items():
        try:
            wandb.Settings().update_from_env_vars({name: value})
        except ValidationError as refused:
            return InputError(f"{name}={value}: {refused.errors()[0]['msg']}")
        except (Error, ValueError) as refused:
            return InputError(f"{name}={value}: {refused}")
    return error


def _choose_mode(mode: str | None, settings: Any) -> tuple[str, str | None]:
    asked = mode or settings.mode
    if asked in ("offline", "dryrun", "disabled"):
        return asked.replace("dryrun", "offline"), None
    problem = key_problem(settings.base_url)
    if problem and (mode or os.environ.get("WANDB_MODE") == "online"):
        option = "--mode online" if mode else "WANDB_MODE=online"
        raise InputError(f"{option}: {problem}; run wandb login, or give --mode offline")
    if problem:
        return "offline", f"{problem} (wandb login makes one)"
    if not answers(settings.base_url):
        return "offline", f"the W&B server {settings.base_url} does not answer"
    return "online", None


def key_problem(host: str) -> str | None:
    """Why W&B finds no API key for ``host``, by its own lookup; None where it finds one."""
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth  # what wandb.init asks; wandb.login would keep the answer

    try:
        found = wbauth.authenticate_session(
            host=host, source="convtune", prompt=False, update_session=False
        )
    except (AuthenticationError, ValueError) as error:
        return f"the W&B API key is not valid: {error}"
    return None if found else NO_KEY


def answers(host: str) -> bool:
    """True unless the server is unreachable or answers 5xx or 429."""
    try:
        urllib.request.urlopen(host, timeout=REACHABLE_SECONDS).close()
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code != 429
    except (OSError, ValueError):
        return False
    return True


def is_current_server(host: str | None) -> bool:
    """Whether W&B's settings name this server, under its address or an earlier one."""
    current = wandb_settings().base_url.rstrip("/")
    return host is not None and host.rstrip("/") in (CLOUD if current in CLOUD else (current,))


def check_project(project: str | None, named: str = "--project ") -> None:
    """Raises ``InputError`` for a project name that W&B refuses."""
    if project and (len(project) > MAX_NAME or any(c in "/\\#?%:" for c in project)):
        raise InputError(
            f"{named}{project[:140]}: must be at most {MAX_NAME} characters without / \\ # ? "
            "% :, for example --project convtune"
        )


def check_tags(tags: Sequence[str], named: str = "--tags") -> None:
    """Raises ``InputError`` for a tag that W&B refuses."""
    if any(len(tag.strip()) > MAX_TAG for tag in tags):
        raise InputError(
            f"{named}: a tag has at most {MAX_TAG} characters, for example --tags first,small"
        )
