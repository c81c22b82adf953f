"""What that process has, of all that use a database, whose turn it is to write."""

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


class Baton:
    """Locks on two files beside the database. The kernel takes them from a process that dies.

    `turn` has the process that writes, `next` the one that is to write after it. While that waits nobody else can be
    quicker, so a process with many who want to write keeps no other one out. In its file stands since when it waits.
    """

    def __init__(self, database: str) -> None:
        """Raises OSError where there can be no such locks."""
        if fcntl is None:
            raise OSError("there are no locks on files here")
        self._turn = _opened(f"{database}.turn.lock", database)
        self._next = _opened(f"{database}.next.lock", database)
        os.ftruncate(self._next, _INSTANT.size)
        # Read between two turns, where a call of the system would cost more: it lets other threads run first.
        self._since = mmap.mmap(self._next, _INSTANT.size)

    def take(self) -> bool:
        """Take it, if nobody has it and nobody waits for it. If not, `wait` may find this process to be the next."""
        if not (_is_locked(self._next) and _is_locked(self._turn)):
            return False
        self._note(math.inf)
        self.let_follow()
        return True

    def wait(self, since: float) -> None:
        """Wait for it, as long as that takes. Until `let_follow` nobody else waits."""
        # Two locks: with one, the process that releases it takes it again before another wakes up (decision 0023).
        fcntl.flock(self._next, fcntl.LOCK_EX)
        self._note(since)
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        self._note(math.inf)

    def let_follow(self) -> None:
        """Let another process come next."""
        fcntl.flock(self._next, fcntl.LOCK_UN)

    def awaited_since(self) -> float:
        """Since when the process waits that comes next; infinite when there is none."""
        return float(_INSTANT.unpack_from(self._since)[0])

    def give(self) -> None:
        """Let another process write."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Forget the files, and give nothing back: in a process that was forked from the one that has it."""
        self._since.close()
        os.close(self._turn)
        os.close(self._next)

    def _note(self, since: float) -> None:
        _INSTANT.pack_into(self._since, 0, since)


def _opened(path: str, database: str) -> int:
    """A file for everyone who may write the database."""
    whose = Path(database).stat()
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with suppress(PermissionError):
        os.fchmod(file, whose.st_mode & 0o666)
        os.fchown(file, whose.st_uid, whose.st_gid)
    return file


def _is_locked(file: int) -> bool:
    """Whether it is locked for this process by now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
