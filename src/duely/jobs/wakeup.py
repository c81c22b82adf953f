"""Waits for the next job without polling the queue."""

import threading
import time
from typing import Any

import structlog
from django.db import connection

from duely.jobs.queue import CHANNEL

log = structlog.get_logger("duely.jobs")

POLL_SECONDS = 0.2
RECONNECT_SECONDS = 1.0


class Wakeup:
    """Waits until a job may have been queued. For one thread; only `stop` may be called from another one."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._listening: Any = None
        self._version: int | None = None

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def wait(self, seconds: float) -> bool:
        """Return True when a job may have been queued, False after `seconds` or `stop`.

        PostgreSQL sends a notification (LISTEN, on a separate connection). On SQLite the number of the last commit by
        any process is polled, which takes microseconds and reads no page (decision 0008).
        """
        if connection.vendor == "postgresql":
            return self._listen(seconds)
        return self._watch(seconds)

    def stop(self) -> None:
        """End the current wait soon, and later ones immediately."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connections."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        connection.close()

    def _listen(self, seconds: float) -> bool:
        import psycopg

        try:
            if self._listening is None:
                self._listening = psycopg.connect(**connection.server_parameters(), autocommit=True)  # type: ignore[attr-defined]
                self._listening.execute(f"LISTEN {CHANNEL}")
                return True  # there was no notification of jobs that were queued before
            deadline = time.monotonic() + seconds
            while (seconds_left := deadline - time.monotonic()) > 0 and not self._stopped.is_set():
                # Short waits, so that `stop` is noticed.
                if list(self._listening.notifies(timeout=min(seconds_left, POLL_SECONDS * 5), stop_after=1)):
                    return True
        except psycopg.Error as error:
            log.warning("not told of new jobs for now", error=str(error).strip())
            if self._listening is not None:
                self._listening.close()
            self._listening = None
            self._stopped.wait(min(seconds, RECONNECT_SECONDS))
        return False

    def _watch(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        # The pause comes first: with frequent commits each poll sees a new number, and the loop would not pause at all.
        while not self._stopped.wait(max(min(deadline - time.monotonic(), POLL_SECONDS), 0.0)):
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA data_version")
                version = cursor.fetchone()[0]
            previous_version, self._version = self._version, version
            if version != previous_version:
                return True
            if time.monotonic() >= deadline:
                return False
        return False
