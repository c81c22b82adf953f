"""Watches the sockets of this process's clients, and closes connections that stall or send too much (decision 0031).

granian owns the sockets. It does not report that a client has not read its answer for a minute, nor how much of a
chunked body has arrived. On Linux both can be read from the sockets (tcp(7), TCP_INFO). On other systems no connection
is closed.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.conf import settings

from duely.http.sockets import Connection, abort, can_be_counted, open_connections

log = structlog.get_logger("duely.guard")
UNREAD_SECONDS = 60.0
MIN_READ_BYTES = 64 * 1024
"""A client must read this much of its answer within UNREAD_SECONDS, or all of a shorter rest."""
UNREAD_CHECK_SECONDS = 5.0
MAX_CHUNKED_BYTES = 2 * 1024 * 1024
"""Size of a chunked body together with the sizes of its chunks. `pipeline` limits the body itself."""
CHUNKED_CHECK_SECONDS = 0.02
SERVER_BUFFERS_BYTES = 512 * 1024
"""More than granian buffers of a body that the application has not read yet."""


class UnreadAnswers:
    """Finds connections whose client does not read its answer."""

    def __init__(self) -> None:
        self._progress: dict[str, tuple[int, float]] = {}

    def stalled(self, connections: Iterable[Connection], now: float) -> list[Connection]:
        """The connections that read less than MIN_READ_BYTES within UNREAD_SECONDS, and have more to read."""
        before, self._progress = self._progress, {}
        stalled = []
        for connection in connections:
            if not connection.queued:
                continue
            acknowledged, since = before.get(connection.inode, (connection.acknowledged, now))
            if connection.acknowledged - acknowledged >= MIN_READ_BYTES:
                acknowledged, since = connection.acknowledged, now
            if now - since >= UNREAD_SECONDS:
                stalled.append(connection)
            self._progress[connection.inode] = acknowledged, since
        return stalled


class EndlessBodies:
    """Finds connections that send more than a chunked body may have before they get an answer."""

    def __init__(self) -> None:
        self._starts: dict[str, tuple[int, int]] = {}

    def excessive(self, connections: Iterable[Connection], limit: int) -> list[Connection]:
        """The connections that sent more than `limit` bytes since the server last sent them a byte."""
        before, self._starts = self._starts, {}
        excessive = []
        for connection in connections:
            now = connection.received, connection.sent
            # A connection without an answer sends its first request, which began at byte 0. The beginning of a later
            # request is not known, so it is measured from the first check on.
            received, sent = before.get(connection.inode, now if connection.sent else (0, 0))
            if connection.sent != sent:
                received, sent = now
            if connection.received - received > limit:
                excessive.append(connection)
            self._starts[connection.inode] = received, sent
        return excessive


class LongBody:
    """The stream of a body with a long Content-Length, which counts the bytes that were read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.received = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes. Empty at the end of the body, even if the end comes early."""
        data: bytes = self._stream.read(size)
        self.received += len(data)
        return data

    def readline(self, size: int = -1) -> bytes:
        """Like `read`, up to the end of a line."""
        line: bytes = self._stream.readline(size)
        self.received += len(line)
        return line


class ConnectionWatch:
    """The thread of a web process that watches its connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._process: int | None = None
        self._lock = threading.Lock()
        self._chunked = 0
        self._is_chunked = threading.Event()
        self._long: set[LongBody] = set()
        self._unread = UnreadAnswers()
        self._endless = EndlessBodies()

    def begin(self) -> None:
        """Start the thread unless this process has started it."""
        if self._process == os.getpid() or not can_be_counted():
            return
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                threading.Thread(target=self._run, name="duely-connections", daemon=True).start()

    @contextmanager
    def chunked_body(self) -> Iterator[None]:
        """Within this block, close connections that send too much. For the time in which a chunked body is read."""
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
        """Within this block, allow connections to send a body of this length."""
        body = LongBody(stream)
        with self._lock:
            self._long.add(body)
        try:
            yield body
        finally:
            with self._lock:
                self._long.discard(body)

    def _run(self) -> None:
        checked_at = time.monotonic()
        while True:
            if self._is_chunked.wait(UNREAD_CHECK_SECONDS):
                time.sleep(CHUNKED_CHECK_SECONDS)
                if self._is_chunked.is_set():
                    self.end_endless()
            if time.monotonic() - checked_at >= UNREAD_CHECK_SECONDS:
                checked_at = time.monotonic()
                self.end_unread(checked_at)

    def end_unread(self, now: float) -> None:
        """Close the connections of clients that do not read their answers."""
        for connection in self._unread.stalled(open_connections(self._port), now):
            log.warning("an answer was not read and is cut off", bytes=connection.queued)
            abort(connection)

    def end_endless(self) -> None:
        """Close the connections of clients that send more than a chunked body may have."""
        connections = open_connections(self._port)
        # A socket does not show to which request its bytes belong. So the longest allowed body counts for all of them.
        with self._lock:
            longest = max((body.received + SERVER_BUFFERS_BYTES for body in self._long), default=0)
        for connection in self._endless.excessive(connections, MAX_CHUNKED_BYTES + longest):
            log.warning("a chunked body was too long and is cut off", bytes=connection.received)
            abort(connection)


watch = ConnectionWatch(settings.PORT)
"""The watch of this process."""
