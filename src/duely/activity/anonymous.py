"""A bound for what people who have not signed in write into the log, which nobody can ever delete.

Each process admits so many entries of an hour into the log that is nobody's, and none after that. The first one that is
too many leaves an entry that says so; each is told to the process's own log. The requests are answered as ever.
"""

import threading
from datetime import datetime, timedelta

import structlog

from duely.core.quotas import ANONYMOUS_ENTRIES

log = structlog.get_logger("duely.activity")

HOUR = timedelta(hours=1)


class Window:
    """Counts the entries of the present hour."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._mutex = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._began: datetime | None = None
        self._number = 0

    def number(self, at: datetime) -> int:
        """Count one more entry at this time; returns how many there are in its hour."""
        with self._mutex:
            if self._began is None or not timedelta() <= at - self._began < HOUR:
                self._began, self._number = at, 0
            self._number += 1
            return self._number


window = Window(ANONYMOUS_ENTRIES)


def excess(action: str, at: datetime) -> int:
    """Count an entry; returns by how many it is too many for this hour, 0 when it is not."""
    number = max(window.number(at) - window.most, 0)
    if number:
        log.warning("an entry of nobody's log was left out", action=action, left_out=number)
    return number
