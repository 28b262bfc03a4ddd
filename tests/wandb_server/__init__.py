"""A W&B server on the loopback interface, for tests with the real clients.

    with WandbServer() as server:
        subprocess.run([...], env={**os.environ, **server.env()})
        assert server.runs[0].history == [...]

Everything lives in memory. It speaks what the wandb 0.31 client, its command line, its public
API and wandb-workspaces ask for in this project's tests. Grid sweeps only.
"""

from .server import WandbServer, quick_agent

__all__ = ["WandbServer", "quick_agent"]
