"""Who works and who waits, within one process.

A process has more threads than requests that are worked on at once: too many that all want to run Python only slow each
other down, but one that waits for a slow client, or for a password to be hashed, is in nobody's way.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection

from duely.core.errors import Unavailable
from duely.database.sqlite.line import when_it_takes_long
from duely.database.statements import this_connection

if TYPE_CHECKING:
    from duely.database.postgresql.base import Lent

_mine = threading.local()


class Places:
    """So many may be taken at once, in the order in which they are asked for.

    A semaphore or a queue of Python's lets whoever comes at the right moment go first, and who waited waits again.
    Each place has the database connection of who had it before.
    """

    def __init__(self, number: int) -> None:
        self._free: list[Lent | None] = [None] * number
        self._waiting: deque[_Waiting] = deque()
        self._mutex = threading.Lock()

    def take(self, seconds: float | None = None) -> "Lent | None":
        """Wait for one. Returns its connection, if it has one. Raises Unavailable (503) when none comes in time."""
        with self._mutex:
            if self._free:
                return self._free.pop()
            place = _Waiting()
            self._waiting.append(place)
        if not place.called.acquire(timeout=-1 if seconds is None else seconds):
            with self._mutex:
                if place in self._waiting:
                    self._waiting.remove(place)
                    raise Unavailable("Too many requests are waiting. Try again in a few seconds.")
            place.called.acquire()  # it came just now
        return place.lent

    def give(self, lent: "Lent | None") -> None:
        """Give it to the next one, with this connection."""
        with self._mutex:
            if not self._waiting:
                self._free.append(lent)
                return
            place = self._waiting.popleft()
        place.lent = lent
        place.called.release()


class _Waiting:
    __slots__ = ("called", "lent")

    def __init__(self) -> None:
        self.lent: Lent | None = None
        self.called = threading.Lock()
        self.called.acquire()


_places = Places(settings.WEB_AT_ONCE)
# One at a time writes to SQLite. Others of this process that come to their transaction meanwhile would only take the
# interpreter from the one that all wait for.
_places_of_writers = Places(1) if connection.vendor == "sqlite" else _places


LONGEST_WAIT_SECONDS = 3.5 if connection.vendor == "postgresql" else None
"""How long a request waits for its first place. Writers on SQLite have their own queue (database/sqlite)."""


def enter_first(*, writes: bool) -> None:
    """Take the first place of a request. Raises Unavailable (503) when none comes in time."""
    places = _places_of_writers if writes else _places
    began_at = time.monotonic()
    lent = places.take(LONGEST_WAIT_SECONDS)
    database = this_connection()
    if database.vendor == "postgresql":
        database.waited_seconds = time.monotonic() - began_at  # type: ignore[attr-defined]
    _begin(places, lent)


def _enter(places: Places) -> None:
    _begin(places, places.take())


def _begin(places: Places, lent: "Lent | None") -> None:
    _mine.places = places
    if lent is not None:
        this_connection().adopt(lent)  # type: ignore[attr-defined]


def leave() -> None:
    """Give the place of this request to the next one."""
    lent, database = None, this_connection()
    if database.vendor == "postgresql":
        lent = database.lend()  # type: ignore[attr-defined]
    elif database.errors_occurred:
        database.close_if_unusable_or_obsolete()
    step_aside(lent)


def step_aside(lent: "Lent | None" = None) -> None:
    """Let others work from now on, with this connection: this request does for the rest of its time without a place."""
    places: Places | None = getattr(_mine, "places", None)
    if places is not None:
        _mine.places = None
        places.give(lent)


# Who waits long for others that write to SQLite keeps nobody waiting, and is soon done when its turn comes.
when_it_takes_long(step_aside)


@contextmanager
def aside() -> Iterator[None]:
    """Let others work while this request waits for what needs neither Python nor the database.

    Outside of a request, and within a transaction, it does nothing.
    """
    places: Places | None = getattr(_mine, "places", None)
    if places is None or connection.in_atomic_block:
        yield
        return
    leave()
    try:
        yield
    finally:
        _enter(places)


def give_back() -> None:
    """Return the connection to the pool, which has one for each that works. Within a transaction it does nothing."""
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        connection.close()


def let_others() -> None:
    """Let those who wait for a place have it for a moment. Within a transaction it does nothing."""
    pause(0.001)


def pause(seconds: float) -> None:
    """Sleep, and let others have the place of this request meanwhile. Within a transaction it keeps its place."""
    with aside():
        time.sleep(seconds)


class Few:
    """How many requests of a heavy kind a process has at once. Others wait for their turn, so many seconds at most."""

    def __init__(self, at_once: int, *, wait: float) -> None:
        self._places = threading.BoundedSemaphore(at_once)
        self._wait = wait

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Raises Unavailable (503) when none comes in time."""
        if not self._places.acquire(blocking=False):
            with aside():
                has_turn = self._places.acquire(timeout=self._wait)
            if not has_turn:
                raise Unavailable("Too many requests of this kind are running. Try again in a few seconds.")
        try:
            yield
        finally:
            self._places.release()
