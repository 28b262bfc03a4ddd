"""`python -m tests.wandb_server`: a server to try things with, until Ctrl-C."""

from __future__ import annotations

import shlex
import signal

from . import WandbServer


def main() -> None:
    with WandbServer() as server:
        for name, value in server.env().items():
            print(f"export {name}={shlex.quote(value)}")
        print("# paste this into another shell; Ctrl-C here stops the server", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print(f"# {len(server.runs)} runs; unknown calls: {dict(server.unknown_calls)}")


main()
