"""One thread in each web process that stores automatic bans and limit hits, and reads the active bans.

So a request needs no query to check its address or to record a refusal, and all processes know a new ban within a
second (decision 0011).
"""

import os
import threading
import time
from collections.abc import Collection
from datetime import datetime

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from duely.core import clock
from duely.guard import actions, bans, limits, queries, space
from duely.guard.rules import parse_network

log = structlog.get_logger("duely.guard")

PERIOD_SECONDS = 0.5
RELOAD_SECONDS = 3600.0
"""How often all bans are read even if the log shows no change. This removes ended bans from memory."""
HITS_PER_BATCH = 100
MAX_FLUSH_SECONDS = 5.0
"""How long one run may write, including the last run before the process ends."""
MAX_CHANGED_NETWORKS = 500
"""Up to this number of changed networks only their bans are read, beyond it all bans."""


class Watch:
    """The thread of this process, and its position in the system's change log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: int | None = None
        self._thread: threading.Thread | None = None
        self._position: int | None = None
        self._loaded_at = 0.0
        self._checked_until = 0.0
        self._is_database_reachable = True

    def begin(self) -> None:
        """Read the bans and start the thread, unless it is running in this process. Every request calls this."""
        # The thread starts with the first request, because the server forks after the import (decision 0011). It is
        # checked once a period; in between a request pays for one comparison.
        if time.monotonic() < self._checked_until and self._process == os.getpid():
            return
        if not self._is_running():
            with self._lock:
                if not self._is_running():
                    self._start()
        self._checked_until = time.monotonic() + PERIOD_SECONDS

    def _is_running(self) -> bool:
        # A fork copies this object but not the thread (decision 0020).
        return self._process == os.getpid() and self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        self._position = None
        self._try_run_once()
        # The server's threads are daemons, and a new thread inherits that. A daemon would be killed when the process
        # ends, before it has written its last entries.
        self._thread = threading.Thread(target=self._run, name="duely-guard", daemon=False)
        self._thread.start()
        self._process = os.getpid()

    def _run(self) -> None:
        try:
            while threading.main_thread().is_alive():
                time.sleep(PERIOD_SECONDS)
                self._try_run_once()
                close_old_connections()
            self._try_run_once()
        finally:
            connection.close()

    def _try_run_once(self) -> None:
        space.check()
        try:
            self.run_once()
        except (DatabaseError, InterfaceError) as error:
            # One line for each outage, not one for each run.
            if self._is_database_reachable:
                log.warning("no database: bans stay as they are, what was collected waits", error=str(error).strip())
            self._is_database_reachable = False
        else:
            self._is_database_reachable = True

    def run_once(self) -> None:
        """Store collected bans and limit hits, then read changed bans. Raises DatabaseError, InterfaceError."""
        self._flush()
        self._refresh()

    def reset(self) -> None:
        """Return to the state after a start. For tests."""
        self._position = None
        bans.reset()
        limits.reset()

    def _flush(self) -> None:
        deadline = time.monotonic() + MAX_FLUSH_SECONDS
        # An entry is removed only after its commit: if the database fails, the next run writes it again.
        while (ban := bans.next_pending_ban()) and time.monotonic() < deadline:
            actions.ban_automatically(network=ban.network, now=ban.at)
            bans.mark_recorded()
        while (hits := limits.next_hits(HITS_PER_BATCH)) and time.monotonic() < deadline:
            actions.record_limit_hits(hits)
            limits.mark_recorded(len(hits))

    def _refresh(self) -> None:
        latest, position = queries.last_change(), self._position
        # The number only falls when an older backup of the database was restored.
        if position is None or latest < position or time.monotonic() - self._loaded_at > RELOAD_SECONDS:
            self._read_all()
        elif latest > position:
            changed = queries.changed_networks(position, latest)
            if len(changed) > MAX_CHANGED_NETWORKS:
                self._read_all()
            elif changed:
                _read_some(changed)
        self._position = latest

    def _read_all(self) -> None:
        rows = queries.active_bans(clock.now()).values_list("network", "until", "automatic")
        by_kind: dict[bool, list[tuple[str, datetime | None]]] = {False: [], True: []}
        for network, until, is_automatic in rows:
            by_kind[is_automatic].append((network, until))
        for is_automatic, ends in by_kind.items():
            bans.snapshot(is_automatic=is_automatic).replace(ends)
        self._loaded_at = time.monotonic()


def _read_some(changed: Collection[str]) -> None:
    ends = queries.ban_ends(changed, clock.now())
    for text in changed:
        network = parse_network(text)
        bans.reset_refusals(network)
        for is_automatic in (False, True):
            snapshot = bans.snapshot(is_automatic=is_automatic)
            if (text, is_automatic) in ends:
                snapshot.put(network, ends[text, is_automatic])
            else:
                snapshot.drop(network)


watch = Watch()
"""The watch of this process."""
