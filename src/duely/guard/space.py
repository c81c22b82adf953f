"""Space on SQLite's disk that is kept for signing in.

On a full disk nobody could sign in and make room, as a session has to be stored. So a file beside the database keeps a
few megabytes. When the disk is full the file goes, and until there is room again only sign-ins and deletions may write.
"""

import os
from contextlib import suppress
from pathlib import Path

import structlog
from django.db import connection

from duely.core.errors import Unavailable

log = structlog.get_logger("duely.guard")

RESERVE_BYTES = 4 * 1024 * 1024
LOW_BYTES = 1024 * 1024
"""With less than this free, beside the reserve, the disk counts as full."""
ROOM_BYTES = 4 * RESERVE_BYTES
"""So much must be free for the reserve to be made, so that it is never what fills the disk."""


class Space:
    """What is left on the disk of one file. Processes share it by the file of the reserve."""

    def __init__(self, database: Path) -> None:
        self._directory = database.parent
        self._reserve = database.with_name(f"{database.name}.reserve")
        self.is_full = False

    def look(self) -> None:
        """See how much is free; make the reserve, or give it up. Takes some ten microseconds."""
        with suppress(OSError):
            disk = os.statvfs(self._directory)
            is_full = self._is_full(disk.f_bavail * disk.f_frsize)
            if is_full and not self.is_full:
                log.error("the disk of the database is full; only sign-ins and deletions may write")
            self.is_full = is_full

    def _is_full(self, free_bytes: int) -> bool:
        if self._reserve.exists():
            if free_bytes >= LOW_BYTES:
                return False
            self._reserve.unlink(missing_ok=True)
            return True
        if free_bytes >= ROOM_BYTES:
            self._make_reserve()
        return free_bytes < RESERVE_BYTES + LOW_BYTES

    def _make_reserve(self) -> None:
        file = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(file, 0, RESERVE_BYTES)
        finally:
            os.close(file)


_space = Space(Path(connection.settings_dict["NAME"])) if connection.vendor == "sqlite" else None


def look() -> None:
    """See how much is free. On PostgreSQL the disk is the server's: nothing is known of it."""
    if _space is not None and hasattr(os, "posix_fallocate"):
        _space.look()


def is_full() -> bool:
    """Whether the disk was full when it was last looked at."""
    return _space is not None and _space.is_full


def refuse_when_full(method: str | None, path: str) -> None:
    """Raise Unavailable (503) for what must not take the last space. path: as of `rules.api_path`."""
    if is_full() and method not in _SAVING and not path.startswith("/api/v1/auth/"):
        raise Unavailable("The disk of the database is full. Delete something, or tell the operator of this server.")


_SAVING = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
