"""Facts about the users behind addresses. The accounts module, which is higher, registers their source here."""

from datetime import datetime
from typing import Protocol

from duely.mail.rules import Allowance


class Directory(Protocol):
    """The source of facts about addresses."""

    def is_proven(self, address: str) -> bool:
        """Whether the address is the verified one of an active user."""
        ...

    def note_limit(self, address: str, allowance: Allowance, *, limit: int, until: datetime, now: datetime) -> None:
        """Record in the caller's transaction that the address gets no more mails of this allowance until `until`."""
        ...


_directories: list[Directory] = []


def register(directory: Directory) -> None:
    """Use this directory from now on."""
    _directories[:] = [directory]


def directory() -> Directory | None:
    """The registered directory, or None. Without one no address counts as proven."""
    return _directories[0] if _directories else None


def is_proven(address: str) -> bool:
    """Whether the address is the verified one of an active user. False without a directory."""
    registered = directory()
    return registered is not None and registered.is_proven(address)
