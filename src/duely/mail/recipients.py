"""What this module must know of the people behind addresses. The module that knows them registers itself here."""

from datetime import datetime
from typing import Protocol

from duely.mail.rules import Allowance


class Directory(Protocol):
    """Answers for addresses."""

    def is_proven(self, address: str) -> bool:
        """Whether an active user has shown that they read the mail of this address."""
        ...

    def note_limit(self, address: str, allowance: Allowance, *, limit: int, until: datetime, now: datetime) -> None:
        """Put on record, in the caller's transaction, that no more of these mails go to this address until then."""
        ...


_directories: list[Directory] = []


def register(directory: Directory) -> None:
    """Ask this directory from now on."""
    _directories[:] = [directory]


def directory() -> Directory | None:
    """The registered directory; None before there is one, and then no address counts as proven."""
    return _directories[0] if _directories else None


def is_proven(address: str) -> bool:
    """Whether an active user has shown that they read the mail of this address. False while nobody can tell."""
    known = directory()
    return known is not None and known.is_proven(address)
