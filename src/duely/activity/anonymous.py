"""Limits the entries that callers without an account cause in the system's log, which cannot be deleted.

Each process records at most ANONYMOUS_ENTRIES of them per hour. Beyond that, one entry says that entries were left out,
and each of them is a line in the log of the process. The requests are answered as usual.
"""

import threading
from datetime import datetime, timedelta

import structlog

from duely.core.quotas import ANONYMOUS_ENTRIES

log = structlog.get_logger("duely.activity")

HOUR = timedelta(hours=1)


class Window:
    """Counts the entries of the current hour."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._mutex = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Restart at zero."""
        self._began_at: datetime | None = None
        self._number = 0

    def number(self, at: datetime) -> int:
        """Count an entry. Returns the number of entries in its hour."""
        with self._mutex:
            if self._began_at is None or not timedelta() <= at - self._began_at < HOUR:
                self._began_at, self._number = at, 0
            self._number += 1
            return self._number


window = Window(ANONYMOUS_ENTRIES)


def excess(action: str, at: datetime) -> int:
    """Count an entry. Returns the number of entries beyond this hour's limit, 0 while there are none."""
    number = max(window.number(at) - window.most, 0)
    if number:
        log.warning("an entry of nobody's log was left out", action=action, left_out=number)
    return number
