"""The queue of threads that want to write to an SQLite file (decision 0023).

When SQLite finds its file locked, it sleeps and tries again, longer each time. The writer that tries at the right
moment gets the lock, even if it came last, and until then nobody writes. This queue wakes the writers in their order
instead.

The queue decides the order alone. SQLite's own lock protects the data. Where processes cannot lock files together, they
only lose the order.
"""

import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable

import structlog

from duely.database.sqlite.file_locks import FileLocks

log = structlog.get_logger("duely.sqlite")

MAX_IN_A_ROW = 32
"""Transactions of this process while another process waits that came later. A limit, in case their clocks differ."""
LONG_WAIT_SECONDS = 0.05
"""After this wait, a thread calls the functions of `on_long_wait`."""
CHECK_SECONDS = 1.0
"""How often waiting threads check whether the writer has disappeared, and when they stop waiting for a process that
was halted while it held a file lock."""

_on_long_wait: list[Callable[[], object]] = []


def on_long_wait(function: Callable[[], object]) -> None:
    """Have this function called in each thread that has to wait longer than LONG_WAIT_SECONDS."""
    _on_long_wait.append(function)


class Writer:
    """A thread that waits to write, or writes. If it ends without `leave`, the queue notices that this is gone."""

    __slots__ = ("__weakref__", "may_write", "queued_at")

    def __init__(self) -> None:
        self.queued_at = time.monotonic()
        # Locked until the writer is the first of the queue. A lock takes less memory and time than an Event.
        self.may_write = threading.Lock()
        self.may_write.acquire()


class WriterQueue:
    """The threads of this process that want to write to one file, and the file locks that this process holds."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file_locks: FileLocks | None = None
        self.reset()

    def reset(self) -> None:
        """Become an empty queue: at the start, and in a child process, which must not share its parent's locks."""
        if self._file_locks is not None:
            self._file_locks.close()
        self._mutex = threading.Lock()
        self._waiting: deque[Writer] = deque()
        self._writer: weakref.ref[Writer] | None = None
        self._file_locks, self._is_alone = None, False
        self._holds_file_lock, self._in_a_row = False, 0
        self._requested_at = self._requested_for = math.inf
        self._requests = threading.Semaphore(0)
        self._lock_thread: threading.Thread | None = None

    def enter(self, timeout: float) -> Writer:
        """Wait until this thread may write. Raises TimeoutError after `timeout` seconds."""
        writer = Writer()
        ends_at = writer.queued_at + timeout
        try:
            with self._mutex:
                self._waiting.append(writer)
                self._wake_first()
            if not writer.may_write.acquire(timeout=min(LONG_WAIT_SECONDS, timeout)):
                for function in _on_long_wait:
                    function()
                while not writer.may_write.acquire(timeout=min(max(ends_at - time.monotonic(), 0.0), CHECK_SECONDS)):
                    if time.monotonic() >= ends_at:
                        raise TimeoutError
                    with self._mutex:
                        self._wake_first()
        except BaseException:
            self.leave(writer)
            raise
        return writer

    def leave(self, writer: Writer) -> None:
        """Let the next thread write, or stop waiting."""
        with self._mutex:
            if self._writer is not None and self._writer() is writer:
                self._writer = None
            elif writer in self._waiting:
                self._waiting.remove(writer)
            self._wake_first()

    # All methods below are called with the mutex locked, except `_acquire_file_locks`.

    def _wake_first(self) -> None:
        """Let the first thread of the queue write if no other thread and no other process does."""
        if self._writer is not None and self._writer() is not None:
            return
        if not self._waiting:
            self._release_file_lock()
            return
        try:
            may_write = self._is_alone or self._may_write(self._waiting[0].queued_at)
        except OSError as error:
            self._give_up_file_locks(error)
            may_write = True
        if may_write:
            writer = self._waiting.popleft()
            self._writer = weakref.ref(writer)
            writer.may_write.release()

    def _may_write(self, queued_at: float) -> bool:
        """Whether this process may write for a thread that queued then.

        After False, `_acquire_file_locks` wakes the thread.
        """
        file_locks = self._file_locks = self._file_locks or FileLocks(self._path)
        if self._requested_at < math.inf:
            # The process that holds the lock may be halted. Then SQLite's own lock tells whether one can write.
            return time.monotonic() >= self._requested_at + CHECK_SECONDS
        if self._holds_file_lock:
            next_since = file_locks.next_waits_since()
            if queued_at <= next_since and (self._in_a_row < MAX_IN_A_ROW or next_since == math.inf):
                self._in_a_row += 1
                return True
            self._release_file_lock()
        elif file_locks.try_acquire():
            self._holds_file_lock, self._in_a_row = True, 0
            return True
        self._requested_at, self._requested_for = time.monotonic(), queued_at
        self._requests.release()
        if self._lock_thread is None:
            self._lock_thread = threading.Thread(
                target=self._acquire_file_locks, args=[file_locks], name="duely.sqlite", daemon=True
            )
            self._lock_thread.start()
        return False

    def _release_file_lock(self) -> None:
        if self._holds_file_lock and self._file_locks is not None:
            self._holds_file_lock = False
            self._file_locks.release()

    def _give_up_file_locks(self, error: OSError) -> None:
        log.warning("this process does not queue with other processes to write", reason=str(error))
        self._is_alone, self._holds_file_lock, self._requested_at = True, False, math.inf
        if self._file_locks is not None:
            self._file_locks.close()
            self._file_locks = None

    def _acquire_file_locks(self, file_locks: FileLocks) -> None:
        """Acquire the file locks each time that they are requested.

        Runs in a thread of its own, because `flock` has no timeout, but the threads of the queue have one.
        """
        while True:
            self._requests.acquire()
            try:
                file_locks.acquire(self._requested_for)
            except OSError as error:
                with self._mutex:
                    self._give_up_file_locks(error)
                    self._wake_first()
                return
            with self._mutex:
                self._holds_file_lock, self._in_a_row, self._requested_at = True, 0, math.inf
                self._wake_first()
                file_locks.release_next()


_queues: dict[str, WriterQueue] = {}


def queue_for(path: str) -> WriterQueue:
    """The queue for a database file, which all connections of this process share."""
    path = os.path.realpath(path)
    # `setdefault` is atomic: two threads that come first get the same queue.
    return _queues.get(path) or _queues.setdefault(path, WriterQueue(path))


def _reset_queues() -> None:
    for queue in _queues.values():
        queue.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_queues)
