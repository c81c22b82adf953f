"""Log lines about requests that the database did not serve: few of them, however many requests there are."""

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass

import structlog

log = structlog.get_logger("duely.api")

PAUSE_SECONDS = 10.0
"""Between two lines about the same cause. After this time without a refusal the database counts as back."""


@dataclass(slots=True)
class _Cause:
    logged_at: float
    refused: int = 0


class Outages:
    """Counts the requests of this process that got 503 because of the database, for each cause.

    `is_any` tells without a lock whether there was one since the database was last seen to work.
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
            known = self._causes.get(cause)
            if known is None:
                known = self._causes[cause] = _Cause(now - PAUSE_SECONDS)
            known.refused += 1
            if now - known.logged_at < PAUSE_SECONDS:
                return
            refused, known.refused, known.logged_at = known.refused, 0, now
        log.warning("database_unavailable", error=str(fault), refused=refused, request_id=request_id)

    def note_served(self) -> None:
        """Log that the database is back, unless it refused a request within PAUSE_SECONDS."""
        with self._lock:
            if not self.is_any or time.monotonic() - self._refused_at < PAUSE_SECONDS:
                return
            refused = sum(cause.refused for cause in self._causes.values())
            self.is_any = False
            self._causes.clear()
        log.warning("database_available", refused=refused)


outages = Outages()
"""This process's."""
