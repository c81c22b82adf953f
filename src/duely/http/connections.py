"""The connections of this process's clients, as the kernel counts them, and the end of those that stall.

The server owns the sockets and tells the application nothing about them: neither that a client has not read its answer
for a minute, nor how much of a chunked body has come in so far. On Linux both can be read from the sockets themselves
(tcp(7), TCP_INFO). Elsewhere nothing is cut off. Decision 0031.
"""

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog
from django.conf import settings

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

# struct tcp_info of linux/tcp.h: the state, then, from Linux 4.19 on, these counters of bytes.
_INFO_BYTES = 208
_LISTENING = 10
_ACKNOWLEDGED, _RECEIVED, _SENT = 120, 128, 200
_UNREAD_IN_QUEUE, _UNSENT_IN_QUEUE = 0x541B, 0x5411  # SIOCINQ, SIOCOUTQ


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection with a client. Counts are bytes.

    inode: of the socket, as in /proc; unlike a descriptor it is not used again while the process looks.
    taken: what the server has read from it. acknowledged: what the client's system has. owed: what lies in the queue.
    """

    inode: str
    descriptor: int
    taken: int
    sent: int
    acknowledged: int
    owed: int


@cache
def can_be_counted() -> bool:
    """Whether this system counts the bytes of a connection: Linux 4.19 or newer."""
    if sys.platform != "linux":
        return False
    with socket.socket() as probe:
        return len(probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)) >= _INFO_BYTES


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A TCP socket of this process. It belongs to the server: closing `socket` would end the connection."""

    inode: str
    descriptor: int
    socket: socket.socket
    is_listening: bool


def open_sockets(port: int) -> Iterator[OpenSocket]:
    """The TCP sockets of this process whose own port is `port`. Each can be used until the next one is asked for.

    Linux alone. Sockets that are closed meanwhile are left out, but any call on one may still raise OSError.
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names, without an object for each
        with suppress(OSError):
            inode = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            if not inode.startswith("socket:"):
                continue
            opened = socket.socket(fileno=int(name))
            try:
                if _is_tcp(opened) and opened.getsockname()[1] == port:
                    state = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
                    yield OpenSocket(inode, int(name), opened, state == _LISTENING)
            finally:
                opened.detach()


def _is_tcp(opened: socket.socket) -> bool:
    return opened.family in (socket.AF_INET, socket.AF_INET6) and opened.type == socket.SOCK_STREAM


def open_connections(port: int) -> list[Connection]:
    """The connections of this process that clients opened to `port`."""
    connections = []
    for opened in open_sockets(port):
        if not opened.is_listening:
            with suppress(OSError):
                connections.append(_inspect(opened))
    return connections


def _inspect(opened: OpenSocket) -> Connection:
    import fcntl

    info = opened.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    (waiting,) = struct.unpack("i", fcntl.ioctl(opened.descriptor, _UNREAD_IN_QUEUE, b"\0" * 4))
    (owed,) = struct.unpack("i", fcntl.ioctl(opened.descriptor, _UNSENT_IN_QUEUE, b"\0" * 4))
    acknowledged, received, sent = (
        struct.unpack_from("Q", info, place)[0] for place in (_ACKNOWLEDGED, _RECEIVED, _SENT)
    )
    return Connection(opened.inode, opened.descriptor, received - waiting, sent, acknowledged, owed)


def cut(connection: Connection) -> None:
    """End a connection at once, with what it still has in its queue."""
    # Meanwhile the descriptor may belong to another connection; a duplicate stays with the socket it was made of.
    # Each call fails where the connection has ended by itself.
    with suppress(OSError), socket.socket(fileno=os.dup(connection.descriptor)) as duplicate:
        if os.readlink(f"/proc/self/fd/{duplicate.fileno()}") != connection.inode:  # noqa: PTH115
            return
        # Without this the kernel would keep what is unread, and go on offering it to a client that takes nothing.
        duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        duplicate.shutdown(socket.SHUT_RDWR)


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
