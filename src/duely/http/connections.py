"""The connections of this process's clients, as the kernel counts them, and the end of those that stall.

The server owns the sockets and tells the application nothing about them: neither that a client has not read its answer
for a minute, nor how much of a chunked body has come in so far. On Linux both can be read from the sockets themselves
(tcp(7), TCP_INFO). Elsewhere nothing is cut off. Decision 0031.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.conf import settings

from duely.http.sockets import Connection, can_be_counted, cut, open_connections

log = structlog.get_logger("duely.guard")
UNREAD_SECONDS = 60.0
LEAST_READ_BYTES = 64 * 1024
"""A client must take this much of its answer within UNREAD_SECONDS, or all that is left of it."""
UNREAD_LOOK_SECONDS = 5.0
MOST_CHUNKED_BYTES = 2 * 1024 * 1024
"""Of a chunked body with the sizes of its chunks. The limit of the body itself is the guard's."""
CHUNKED_LOOK_SECONDS = 0.02
SERVER_BUFFERS_BYTES = 512 * 1024
"""More than the server holds of a body that the application has not asked for."""


class Unread:
    """Finds connections whose client does not read its answer."""

    def __init__(self) -> None:
        self._progress: dict[str, tuple[int, float]] = {}

    def stalled(self, connections: Iterable[Connection], now: float) -> list[Connection]:
        """Those that took less than LEAST_READ_BYTES within UNREAD_SECONDS, and have more to take."""
        before, self._progress = self._progress, {}
        stalled = []
        for connection in connections:
            if not connection.owed:
                continue
            taken, since = before.get(connection.inode, (connection.acknowledged, now))
            if connection.acknowledged - taken >= LEAST_READ_BYTES:
                taken, since = connection.acknowledged, now
            if now - since >= UNREAD_SECONDS:
                stalled.append(connection)
            self._progress[connection.inode] = taken, since
        return stalled


class Endless:
    """Finds connections that send more than a chunked body may have, and get no answer meanwhile."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[int, int]] = {}

    def excessive(self, connections: Iterable[Connection], most: int) -> list[Connection]:
        """Those from which more than `most` bytes were taken since the last byte was sent to them."""
        before, self._begun = self._begun, {}
        excessive = []
        for connection in connections:
            now = connection.taken, connection.sent
            # One that was never answered sends its first request. Of others it is not known when the request began.
            taken, sent = before.get(connection.inode, now if connection.sent else (0, 0))
            if connection.sent != sent:
                taken, sent = now
            if connection.taken - taken > most:
                excessive.append(connection)
            self._begun[connection.inode] = taken, sent
        return excessive


class LongBody:
    """A body with a long Content-Length, and how much of it was read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.received = 0

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end, also where that comes early."""
        data: bytes = self._stream.read(size)
        self.received += len(data)
        return data

    def readline(self, size: int = -1) -> bytes:
        """As `read`, up to the end of a line."""
        line: bytes = self._stream.readline(size)
        self.received += len(line)
        return line


class Watch:
    """One thread in each web process that looks after the connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._process: int | None = None
        self._lock = threading.Lock()
        self._chunked = 0
        self._is_chunked = threading.Event()
        self._long: set[LongBody] = set()
        self._unread = Unread()
        self._endless = Endless()

    def begin(self) -> None:
        """Start the thread, unless this process has done so."""
        if self._process == os.getpid() or not can_be_counted():
            return
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                threading.Thread(target=self._run, name="duely-connections", daemon=True).start()

    @contextmanager
    def chunked_body(self) -> Iterator[None]:
        """While a chunked body is read, cut off a connection that sends too much."""
        with self._lock:
            self._chunked += 1
            self._is_chunked.set()
        try:
            yield
        finally:
            with self._lock:
                self._chunked -= 1
                if not self._chunked:
                    self._is_chunked.clear()

    @contextmanager
    def long_body(self, stream: Any) -> Iterator[LongBody]:
        """A body that is long, and is not cut off for it."""
        body = LongBody(stream)
        with self._lock:
            self._long.add(body)
        try:
            yield body
        finally:
            with self._lock:
                self._long.discard(body)

    def _run(self) -> None:
        looked_at = time.monotonic()
        while True:
            if self._is_chunked.wait(UNREAD_LOOK_SECONDS):
                time.sleep(CHUNKED_LOOK_SECONDS)
                if self._is_chunked.is_set():
                    self.end_endless()
            if time.monotonic() - looked_at >= UNREAD_LOOK_SECONDS:
                looked_at = time.monotonic()
                self.end_unread(looked_at)

    def end_unread(self, now: float) -> None:
        """Cut off the clients that do not read their answers."""
        for connection in self._unread.stalled(open_connections(self._port), now):
            log.warning("an answer was not read and is cut off", bytes=connection.owed)
            cut(connection)

    def end_endless(self) -> None:
        """Cut off the clients that send more than a chunked body may have."""
        connections = open_connections(self._port)
        # A socket does not tell which request it carries: no long body may be taken for a chunked one.
        with self._lock:
            longest = max((body.received + SERVER_BUFFERS_BYTES for body in self._long), default=0)
        for connection in self._endless.excessive(connections, MOST_CHUNKED_BYTES + longest):
            log.warning("a chunked body was too long and is cut off", bytes=connection.taken)
            cut(connection)


watch = Watch(settings.PORT)
"""This process's."""
