"""Pins each web process to a CPU core if there are as many processes as cores (decision 0024).

Only one thread of a process runs Python at a time. Without pinning, the scheduler moves the work to another core with
each switch of threads, and the new core has to load the data into its caches again.
"""

import os
import sys
from contextlib import suppress

if sys.platform == "linux":
    import fcntl


def create_core_locks(processes: int) -> int | None:
    """Create a file in memory with a lock for each core, before the fork. None if processes should not be pinned."""
    if sys.platform == "linux" and processes == len(os.sched_getaffinity(0)):
        with suppress(OSError):  # not allowed, for example by a sandbox
            return os.memfd_create("duely-cores")
    return None


def pin_to_free_core(core_locks: int) -> None:
    """Pin this process and its future threads to a core that no other process has locked.

    The kernel releases the lock when the process ends, so that its successor gets the core.
    """
    if sys.platform == "linux":
        for position, core in enumerate(sorted(os.sched_getaffinity(0))):
            with suppress(OSError):  # locked by another process, or not allowed
                fcntl.lockf(core_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, position)
                # A process that stays on one core finds its data in that core's caches: 1.1 to 1.3 times the throughput
                # (decision 0024).
                os.sched_setaffinity(0, {core})
                return
