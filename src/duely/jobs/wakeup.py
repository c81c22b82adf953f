"""Waiting for the next job without asking the database again and again."""

import threading
import time
from typing import Any

import structlog
from django.db import connection

from duely.jobs.queue import CHANNEL

log = structlog.get_logger("duely.jobs")

LOOK_SECONDS = 0.2
RECONNECT_SECONDS = 1.0


class Wakeup:
    """Tells when something may have been queued. For one thread; `stop` may come from another."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._listening: Any = None
        self._version: int | None = None

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._over.is_set()

    def wait(self, seconds: float) -> bool:
        """Return True when something was queued, False after `seconds` or `stop`.

        PostgreSQL says so itself (LISTEN, on a connection of its own). Of an SQLite file a look at the number of its
        last commit costs microseconds and reads nothing; any process's commit counts.
        """
        if connection.vendor == "postgresql":
            return self._listen(seconds)
        return self._watch(seconds)

    def stop(self) -> None:
        """End the present wait soon, and all later ones at once."""
        self._over.set()

    def close(self) -> None:
        """Give the connections back."""
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
                return True  # what was queued before nobody told
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0 and not self._over.is_set():
                if list(self._listening.notifies(timeout=min(left, LOOK_SECONDS * 5), stop_after=1)):
                    return True
        except psycopg.Error as error:
            log.warning("not told of new jobs for now", error=str(error).strip())
            if self._listening is not None:
                self._listening.close()
            self._listening = None
            self._over.wait(min(seconds, RECONNECT_SECONDS))
        return False

    def _watch(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        # The pause comes first: with a commit every moment each look would find a new number.
        while not self._over.wait(max(min(end - time.monotonic(), LOOK_SECONDS), 0.0)):
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA data_version")
                version = cursor.fetchone()[0]
            before, self._version = self._version, version
            if version != before:
                return True
            if time.monotonic() >= end:
                return False
        return False
