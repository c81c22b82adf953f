"""A reserve on the disk of a SQLite database, so that users can sign in and delete when the disk is full.

Sign-in stores a session, which needs space. So a file beside the database reserves a few megabytes. When the disk is
full, the file is removed, and until there is space again only sign-ins and deletions may write.
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
"""The disk counts as full with less than this free, not counting the reserve."""
ROOM_BYTES = 4 * RESERVE_BYTES
"""Free space that is needed to create the reserve, so that the reserve itself never fills the disk."""
ALLOWED_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
"""Methods that are served on a full disk."""


class Space:
    """The free space on the disk of one database file. Processes share the state through the reserve file."""

    def __init__(self, database: Path) -> None:
        self._directory = database.parent
        self._reserve = database.with_name(f"{database.name}.reserve")
        self.is_full = False

    def check(self) -> None:
        """Read the free space, and create or remove the reserve. Takes about ten microseconds."""
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
            self._create_reserve()
        return free_bytes < RESERVE_BYTES + LOW_BYTES

    def _create_reserve(self) -> None:
        file = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            # Allocates blocks. A file that is only extended would be sparse and reserve nothing.
            os.posix_fallocate(file, 0, RESERVE_BYTES)
        finally:
            os.close(file)


_space = Space(Path(connection.settings_dict["NAME"])) if connection.vendor == "sqlite" else None


def check() -> None:
    """Read the free space. Does nothing on PostgreSQL, whose disk may be on another machine."""
    # macOS has no posix_fallocate: there no reserve is kept.
    if _space is not None and hasattr(os, "posix_fallocate"):
        _space.check()


def is_full() -> bool:
    """Whether the disk was full at the last check."""
    return _space is not None and _space.is_full


def refuse_when_full(method: str | None, path: str) -> None:
    """Raise Unavailable (503) on a full disk, except for reads, deletions and sign-in.

    path: in the form that `rules.api_path` returns.
    """
    if is_full() and method not in ALLOWED_METHODS and not path.startswith("/api/v1/auth/"):
        raise Unavailable("The disk of the database is full. Delete something, or tell the operator of this server.")
