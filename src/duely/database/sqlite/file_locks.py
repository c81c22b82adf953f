"""File locks that decide which process may write next (decision 0023)."""

import math
import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_INSTANT = struct.Struct("d")


class FileLocks:
    """Two `flock` locks on files beside the database. The kernel releases them when a process dies.

    The process that writes holds `turn`; the process that writes after it holds `next`. With one lock alone, a process
    with many waiting threads would take the lock again before another process wakes up. The file of `next` contains
    the time since which its holder waits (`time.monotonic`; infinity when no process waits).
    """

    def __init__(self, database: str) -> None:
        """Raises OSError if the file system or the operating system has no such locks."""
        if fcntl is None:
            raise OSError("this operating system has no flock")
        self._turn = _open_lock_file(f"{database}.turn.lock", database)
        self._next = _open_lock_file(f"{database}.next.lock", database)
        os.ftruncate(self._next, _INSTANT.size)
        # Mapped into memory, because it is read after every transaction: a system call would also release the
        # interpreter and let other threads run first (decision 0023).
        self._waiting_since = mmap.mmap(self._next, _INSTANT.size)

    def try_acquire(self) -> bool:
        """Acquire the right to write if no process has it and none waits for it.

        After False this process may hold `next` already. Then `acquire` only waits for `turn`.
        """
        if not (_try_lock(self._next) and _try_lock(self._turn)):
            return False
        self._set_waiting_since(math.inf)
        self.release_next()
        return True

    def acquire(self, waiting_since: float) -> None:
        """Wait for the right to write, without a timeout. Holds `next` until `release_next`."""
        fcntl.flock(self._next, fcntl.LOCK_EX)
        self._set_waiting_since(waiting_since)
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        self._set_waiting_since(math.inf)

    def release_next(self) -> None:
        """Let another process be the next one."""
        fcntl.flock(self._next, fcntl.LOCK_UN)

    def next_waits_since(self) -> float:
        """Since when the next process waits; infinity if there is none."""
        return float(_INSTANT.unpack_from(self._waiting_since)[0])

    def release(self) -> None:
        """Let another process write."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files without an unlock: in a forked child, where an unlock would release its parent's locks."""
        self._waiting_since.close()
        os.close(self._turn)
        os.close(self._next)

    def _set_waiting_since(self, instant: float) -> None:
        _INSTANT.pack_into(self._waiting_since, 0, instant)


def _open_lock_file(path: str, database: str) -> int:
    """Open a lock file, with the owner and the permissions of the database."""
    database_status = Path(database).stat()
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    # Every user who may write the database must be able to lock. Only the file's owner may change this.
    with suppress(PermissionError):
        os.fchmod(file, database_status.st_mode & 0o666)
        os.fchown(file, database_status.st_uid, database_status.st_gid)
    return file


def _try_lock(file: int) -> bool:
    """Lock a file if no other process holds its lock. Returns whether this process holds it now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
