"""Slots: how many requests of one process run at the same time.

A process has more threads than slots. Threads that all run Python slow each other down; a thread that waits for a slow
client, or hashes a password, needs no slot. Each slot keeps a database connection, which passes from one request to
the next (decisions 0013 and 0021).
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
from duely.database.sqlite.writer_queue import on_long_wait
from duely.database.statements import this_connection

if TYPE_CHECKING:
    from duely.database.postgresql.base import DetachedConnection

_thread = threading.local()


class Slots:
    """A fixed number of slots. Waiting threads get them in the order in which they asked.

    `threading.Semaphore` and `queue.Queue` let a thread that arrives at the right moment overtake the waiting ones.
    """

    def __init__(self, number: int) -> None:
        self._free: list[DetachedConnection | None] = [None] * number
        self._waiting: deque[_Waiter] = deque()
        self._mutex = threading.Lock()

    def acquire(self, seconds: float | None = None) -> "DetachedConnection | None":
        """Wait for a slot, and return its connection if it has one. Raises Unavailable (503) after `seconds`."""
        with self._mutex:
            if self._free:
                return self._free.pop()
            waiter = _Waiter()
            self._waiting.append(waiter)
        if not waiter.ready.acquire(timeout=-1 if seconds is None else seconds):
            with self._mutex:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                    raise Unavailable("Too many requests are waiting. Try again in a few seconds.")
            waiter.ready.acquire()  # the slot came between the timeout and the mutex
        return waiter.detached

    def release(self, detached: "DetachedConnection | None") -> None:
        """Pass the slot and this connection to the next thread."""
        with self._mutex:
            if not self._waiting:
                self._free.append(detached)
                return
            waiter = self._waiting.popleft()
        waiter.detached = detached
        waiter.ready.release()


class _Waiter:
    """A thread that waits for a slot."""

    __slots__ = ("detached", "ready")

    def __init__(self) -> None:
        self.detached: DetachedConnection | None = None
        # Locked until the waiter has a slot. A lock takes less memory and time than an Event.
        self.ready = threading.Lock()
        self.ready.acquire()


# With two slots, two writers that wait for a row block all lists; eight are no faster (decision 0013).
_slots = Slots(settings.WEB_AT_ONCE)
# SQLite has one writer at a time. A second thread of this process in a write transaction would only take the
# interpreter from the one that holds the lock (decision 0023).
_writer_slots = Slots(1) if connection.vendor == "sqlite" else _slots

# So that a request ends after 7 s at most, also while the server hangs (decision 0033).
LONGEST_WAIT_SECONDS = 3.5 if connection.vendor == "postgresql" else None
"""How long a request waits for its first slot. On SQLite the queue of writers has its own limit."""


def enter(*, writes: bool) -> None:
    """Take a slot for the request of this thread. Raises Unavailable (503) when none is free in time."""
    slots = _writer_slots if writes else _slots
    began_at = time.monotonic()
    detached = slots.acquire(LONGEST_WAIT_SECONDS)
    database = this_connection()
    if database.vendor == "postgresql":
        # Its statements have less time, so that a request ends within 7 seconds (decision 0033).
        database.waited_seconds = time.monotonic() - began_at  # type: ignore[attr-defined]
    _use(slots, detached)


def _use(slots: Slots, detached: "DetachedConnection | None") -> None:
    _thread.slots = slots
    if detached is not None:
        this_connection().attach(detached)  # type: ignore[attr-defined]


def leave() -> None:
    """Release the slot of this thread, with its connection."""
    detached, database = None, this_connection()
    if database.vendor == "postgresql":
        detached = database.detach()  # type: ignore[attr-defined]
    elif database.errors_occurred:
        database.close_if_unusable_or_obsolete()
    release_early(detached)


def release_early(detached: "DetachedConnection | None" = None) -> None:
    """Release the slot of this thread, with this connection. The request runs on without a slot until it ends."""
    slots: Slots | None = getattr(_thread, "slots", None)
    if slots is not None:
        _thread.slots = None
        slots.release(detached)


# A writer that waits long for SQLite's lock releases its slot, so that readers of this process can go on
# (decision 0023).
on_long_wait(release_early)


@contextmanager
def without_slot() -> Iterator[None]:
    """Release the slot while this request waits for something that needs neither Python nor the database.

    Does nothing outside of a request, and nothing within a transaction.
    """
    slots: Slots | None = getattr(_thread, "slots", None)
    if slots is None or connection.in_atomic_block:
        yield
        return
    leave()
    try:
        yield
    finally:
        _use(slots, slots.acquire())


def return_connection() -> None:
    """Return this thread's connection to the pool, which has one connection for each slot.

    Does nothing within a transaction, or on SQLite.
    """
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        connection.close()


def yield_slot() -> None:
    """Let a waiting request use this slot for a moment. Does nothing within a transaction."""
    pause(0.001)


def pause(seconds: float) -> None:
    """Sleep without a slot; within a transaction, sleep with it."""
    with without_slot():
        time.sleep(seconds)


class ConcurrencyLimit:
    """How many requests of an expensive kind run at once in this process. Others wait, at most `wait` seconds."""

    def __init__(self, at_once: int, *, wait: float) -> None:
        self._semaphore = threading.BoundedSemaphore(at_once)
        self._wait = wait

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Run one request of this kind. Raises Unavailable (503) when too many run for longer than `wait` seconds."""
        if not self._semaphore.acquire(blocking=False):
            with without_slot():
                is_acquired = self._semaphore.acquire(timeout=self._wait)
            if not is_acquired:
                raise Unavailable("Too many requests of this kind are running. Try again in a few seconds.")
        try:
            yield
        finally:
            self._semaphore.release()
