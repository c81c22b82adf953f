"""A process that ends when its parent does, even when the parent is killed. Linux only; elsewhere it does nothing."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
SUPERVISOR = "DUELY_SUPERVISOR_PID"


def end_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when `parent` dies; ends at once when it is dead already."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def is_supervised() -> bool:
    """Whether `duely serve` started this process, and should end it."""
    return os.environ.get(SUPERVISOR) == str(os.getppid())  # allow: environment because serve sets it, no operator
