"""The server as a test uses it: start, inspect, switch faults on and off, stop."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .faults import Fault, Faults
from .http import Listener
from .store import Artifact, Report, Run, Store, Sweep

QUICK_AGENT = """
import sys
from wandb.wandb_agent import Agent
Agent.POLL_INTERVAL = 0.5
from wandb.cli.cli import cli
cli(["agent", *sys.argv[1:]])
"""


def quick_agent(*arguments: str) -> list[str]:
    """The command for `wandb agent ARGUMENTS` that asks twice a second instead of every five."""
    return [sys.executable, "-c", QUICK_AGENT, *arguments]


class WandbServer:
    """A W&B server at 127.0.0.1, at a port that was free. Use it in a `with`.

    `unknown_calls`: requests and GraphQL fields that it could not answer, with how often.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.faults = Faults()
        self.unknown_calls: Counter[str] = Counter()
        self.listener: Listener | None = None
        self.port = 0

    def __enter__(self) -> WandbServer:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def listen(self) -> None:
        self.listener = Listener(self.port, self.store, self.faults, self.unknown_calls)
        self.listener.start()
        self.port = self.listener.port

    def close(self) -> None:
        if self.listener is not None:
            self.listener.stop()
            self.listener = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def env(self, folder: Path | None = None, *, quick: bool = True) -> dict[str, str]:
        """The environment that sends a client here.

        Its caches go to `folder` where given. `quick`: it sends every second instead of every
        fifteen, and waits at most two seconds before it tries again.
        """
        variables = {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": "0123456789abcdef" * 2 + "01234567",
            "WANDB_MODE": "online",
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
            "NO_PROXY": "127.0.0.1",
        }
        if quick:
            variables["WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL"] = "1"
            for channel in ("FILE_STREAM", "FILE_TRANSFER", "GRAPHQL"):
                variables[f"WANDB_X_{channel}_RETRY_WAIT_MIN_SECONDS"] = "1"
                variables[f"WANDB_X_{channel}_RETRY_WAIT_MAX_SECONDS"] = "2"
        if folder is not None:
            for name in ("DATA", "CACHE", "CONFIG", "ARTIFACT"):
                variables[f"WANDB_{name}_DIR"] = str(folder / f"wandb-{name.lower()}")
        return variables

    @property
    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        return list(self.store.runs.values())

    @property
    def artifacts(self) -> list[Artifact]:
        """All committed artifact versions, oldest first."""
        return [artifact for artifact in self.store.artifacts if artifact.state == "COMMITTED"]

    @property
    def sweeps(self) -> list[Sweep]:
        return list(self.store.sweeps.values())

    @property
    def reports(self) -> list[Report]:
        return list(self.store.reports.values())

    def run(self, run_id: str) -> Run:
        """The one run with this id."""
        [found] = [run for run in self.runs if run.id == run_id]
        return found

    def wait_for(self, condition: Callable[[], object], timeout: float = 30) -> None:
        """Wait until `condition()` holds. Raises TimeoutError after `timeout` seconds."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not true within {timeout} s; unknown: {self.unknown_calls}")
            time.sleep(0.05)

    @contextmanager
    def fault(
        self,
        *,
        status: int | None = None,
        hang: bool = False,
        refuse: bool = False,
        path: str = "",
        count: int | None = None,
    ) -> Iterator[Fault]:
        """Be broken inside the `with`: answer `status`, `hang`, or `refuse` connections.

        `path`: only requests with this in their path ("file_stream", "graphql"). `count`: only
        the first so many. Requests that meet a fault are not carried out. Yields the Fault, whose
        `hits` counts them (not with `refuse`: no request arrives).
        """
        if sum((status is not None, hang, refuse)) != 1:
            raise ValueError("give one of status, hang, refuse")
        fault = Fault(status, hang, path, count)
        if refuse:
            self.close()
        else:
            self.faults.start(fault)
        try:
            yield fault
        finally:
            if refuse:
                self.listen()
            else:
                self.faults.stop(fault)
