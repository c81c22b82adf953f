"""Log lines about requests that failed because of the database: a few lines for any number of requests."""

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass

import structlog

log = structlog.get_logger("duely.api")

PAUSE_SECONDS = 10.0
"""The time between two lines about one cause. After this time without a refusal the database counts as available."""


@dataclass(slots=True)
class _Cause:
    logged_at: float
    refused: int = 0


class Outages:
    """Counts the requests of this process that got 503 because of the database, for each cause.

    `is_any`: whether there was one since the database last worked. Read without a lock, because each request reads it.
    """

    def __init__(self) -> None:
        self.is_any = False
        self._lock = threading.Lock()
        self._causes: dict[Hashable, _Cause] = {}
        self._refused_at = 0.0

    def note_refused(self, fault: Exception, request_id: str) -> None:
        """Log the first refusal of a cause, then at most every PAUSE_SECONDS how many requests were refused."""
        cause = type(fault.__cause__ or fault), getattr(fault.__cause__, "sqlstate", None)
        now = time.monotonic()
        with self._lock:
            self.is_any, self._refused_at = True, now
            counter = self._causes.get(cause)
            if counter is None:
                counter = self._causes[cause] = _Cause(now - PAUSE_SECONDS)
            counter.refused += 1
            if now - counter.logged_at < PAUSE_SECONDS:
                return
            refused, counter.refused, counter.logged_at = counter.refused, 0, now
        log.warning("database_unavailable", error=str(fault), refused=refused, request_id=request_id)

    def note_served(self) -> None:
        """Log that the database is available again, unless it refused a request within PAUSE_SECONDS."""
        with self._lock:
            if not self.is_any or time.monotonic() - self._refused_at < PAUSE_SECONDS:
                return
            refused = sum(cause.refused for cause in self._causes.values())
            self.is_any = False
            self._causes.clear()
        log.warning("database_available", refused=refused)


outages = Outages()
"""The counter of this process."""
