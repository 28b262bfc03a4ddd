"""A W&B server on the loopback interface, for tests with the real clients.

    with WandbServer() as server:
        subprocess.run([...], env={**os.environ, **server.env()})
        assert server.runs[0].history == [...]

Everything lives in memory. It speaks what the wandb 0.31 client, its command line, its public
API and wandb-workspaces ask for in this project's tests: see docs of the single modules.
"""

from .server import WandbServer

__all__ = ["WandbServer"]
