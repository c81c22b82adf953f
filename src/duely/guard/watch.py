"""One thread in each web process: writes what requests must not wait for, and reads which bans stand.

So a request asks the database neither whether its address is banned nor to note that it was refused, and what one
process does is known to all of them within a second.
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
"""How often all bans are read, whatever the log says: it forgets those that are over."""
HITS_AT_ONCE = 100
MOST_SECONDS = 5.0
"""How long one turn writes at most, also the last one before the process ends."""
MOST_CHANGED = 500


class Watch:
    """What one process does, and what it has seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: int | None = None
        self._thread: threading.Thread | None = None
        self._seen: int | None = None
        self._loaded_at = 0.0
        self._sure_until = 0.0
        self._is_well = True

    def begin(self) -> None:
        """Read the bans and start the thread, unless this process has done so. From then on it costs a comparison."""
        if time.monotonic() < self._sure_until and self._process == os.getpid():
            return
        if not self._runs():
            with self._lock:
                if not self._runs():
                    self._start()
        self._sure_until = time.monotonic() + PERIOD_SECONDS

    def _runs(self) -> bool:
        return self._process == os.getpid() and self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        self._seen = None
        self._try_turn()
        # A daemon would be cut off when the process ends, with what it has yet to write. The server's threads are such,
        # and a new one is what the one that makes it is.
        self._thread = threading.Thread(target=self._run, name="duely-guard", daemon=False)
        self._thread.start()
        self._process = os.getpid()

    def _run(self) -> None:
        try:
            while threading.main_thread().is_alive():
                time.sleep(PERIOD_SECONDS)
                self._try_turn()
                close_old_connections()
            self._try_turn()
        finally:
            connection.close()

    def _try_turn(self) -> None:
        space.look()
        try:
            self.turn()
        except (DatabaseError, InterfaceError) as error:
            if self._is_well:
                log.warning("no database: bans stay as they are, what was collected waits", error=str(error).strip())
            self._is_well = False
        else:
            self._is_well = True

    def turn(self) -> None:
        """Write what was collected, then look for changed bans. Raises DatabaseError, InterfaceError."""
        self._flush()
        self._refresh()

    def forget(self) -> None:
        """Begin anew, as after a start. For tests."""
        self._seen = None
        bans.forget()
        limits.forget()

    def _flush(self) -> None:
        end = time.monotonic() + MOST_SECONDS
        while (wanted := bans.next_wanted()) and time.monotonic() < end:
            actions.ban_automatically(network=wanted.network, now=wanted.at)
            bans.recorded()
        while (hits := limits.next_hits(HITS_AT_ONCE)) and time.monotonic() < end:
            actions.record_limit_hits(hits)
            limits.recorded(len(hits))

    def _refresh(self) -> None:
        last, seen = queries.last_change(), self._seen
        if seen is None or last < seen or time.monotonic() - self._loaded_at > RELOAD_SECONDS:
            self._read_all()
        elif last > seen:
            changed = queries.changed_networks(seen, last)
            if len(changed) > MOST_CHANGED:
                self._read_all()
            elif changed:
                _read_some(changed)
        self._seen = last

    def _read_all(self) -> None:
        rows = queries.standing_bans(clock.now()).values_list("network", "until", "automatic")
        by_kind: dict[bool, list[tuple[str, datetime | None]]] = {False: [], True: []}
        for network, until, is_automatic in rows:
            by_kind[is_automatic].append((network, until))
        for is_automatic, ends in by_kind.items():
            bans.snapshot(is_automatic=is_automatic).replace(ends)
        self._loaded_at = time.monotonic()


def _read_some(changed: Collection[str]) -> None:
    ends = queries.ends_of(changed, clock.now())
    for text in changed:
        network = parse_network(text)
        bans.begin_anew(network)
        for is_automatic in (False, True):
            snapshot = bans.snapshot(is_automatic=is_automatic)
            if (text, is_automatic) in ends:
                snapshot.put(network, ends[text, is_automatic])
            else:
                snapshot.drop(network)


watch = Watch()
"""This process's."""
