"""Run Python with the given arguments; SIGINT ends it when the process that started it is killed.

``python sweeps/parent_death.py PARENT (-m MODULE | FILE) ARGUMENT…``. Linux only: the kernel sends
the signal, whatever ended the parent. W&B's agents then finish the current run and take no other;
workers save theirs and end, because a training run takes the signal for a scheduler's.
"""

import ctypes
import os
import runpy
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>
ENDED = signal.SIGUSR1
_interrupted = False


def main(parent: int, arguments: list[str]) -> None:
    """What ``python ARGUMENT…`` does, in this process, unless ``parent`` has ended already."""
    if sys.platform == "linux":
        signal.signal(ENDED, _interrupt_once)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(ENDED))
        if os.getppid() != parent:
            return
    # Not the user's folder, which may hold a package named like one of ours.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(sys.argv[0], run_name="__main__")


def _interrupt_once(*_: object) -> None:
    """The kernel tells once for each thread of the parent; a second SIGINT would end the run."""
    global _interrupted
    if not _interrupted:  # Python runs no other handler between this look and the next line
        _interrupted = True
        signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
