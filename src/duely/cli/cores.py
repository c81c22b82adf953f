"""A core for each web process, where there are as many of one as of the other.

One thread of a process runs Python at a time. Left to itself the system moves that from core to core with each thread
whose turn comes, and what one core has in its caches the next one fetches anew.
"""

import os
import sys
from contextlib import suppress

if sys.platform == "linux":
    import fcntl


def lay_out(processes: int) -> int | None:
    """Before they are forked: the file, in memory, of which each will lock a byte. None: they go where they like."""
    if sys.platform == "linux" and processes == len(os.sched_getaffinity(0)):
        with suppress(OSError):  # where the system does not let us
            return os.memfd_create("duely-cores")
    return None


def keep_to_one(cores: int) -> None:
    """Have this process, and its threads to come, on a core that no other one has. It is free again when this ends."""
    if sys.platform == "linux":
        for place, core in enumerate(sorted(os.sched_getaffinity(0))):
            with suppress(OSError):  # another one has it, or the system does not let us
                fcntl.lockf(cores, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                # A process that stays on one core finds its data in that core's caches: 1.1 to 1.3 times the throughput
                # (decision 0024).
                os.sched_setaffinity(0, {core})
                return
