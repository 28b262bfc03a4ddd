"""Run Python with the given arguments; SIGINT ends it when the process that started it is killed.

``python -m sweeps.leash PARENT ARGUMENT…``. On Linux the kernel sends the signal, whatever ended
the parent; elsewhere nothing does. W&B's agents then finish the run in hand and take no other.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>; it outlasts the exec below


def main(parent: int, arguments: list[str]) -> None:
    """Become ``python ARGUMENT…``, unless ``parent`` has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGINT))
        if os.getppid() != parent:
            return
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
