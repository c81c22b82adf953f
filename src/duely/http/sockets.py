"""The TCP sockets of this process, as the kernel counts their bytes (tcp(7), TCP_INFO). Linux alone.

Needs no settings: `duely.cli.stopping` uses it before Django is set up.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

# Offsets in struct tcp_info of linux/tcp.h: the state, and the byte counters of Linux 4.19 and newer.
_INFO_BYTES = 208
_LISTENING = 10
_ACKNOWLEDGED, _RECEIVED, _SENT = 120, 128, 200
_UNREAD_IN_QUEUE, _UNSENT_IN_QUEUE = 0x541B, 0x5411  # SIOCINQ, SIOCOUTQ


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection with a client. Numbers are bytes.

    inode: the socket's, as in /proc. Unlike a descriptor, it is not reused while this process inspects its sockets.
    received: bytes that the server has read. acknowledged: bytes that the client's system has received.
    queued: bytes of the answer that are still in the send queue.
    """

    inode: str
    descriptor: int
    received: int
    sent: int
    acknowledged: int
    queued: int


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
    """The TCP sockets of this process whose local port is `port`. Each is usable until the next one is requested.

    Linux only. Sockets that are closed during the iteration are skipped, but any call on a socket may raise OSError.
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - cheaper than a Path for each
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
    (unread,) = struct.unpack("i", fcntl.ioctl(opened.descriptor, _UNREAD_IN_QUEUE, b"\0" * 4))
    (queued,) = struct.unpack("i", fcntl.ioctl(opened.descriptor, _UNSENT_IN_QUEUE, b"\0" * 4))
    acknowledged, received, sent = (
        struct.unpack_from("Q", info, offset)[0] for offset in (_ACKNOWLEDGED, _RECEIVED, _SENT)
    )
    return Connection(opened.inode, opened.descriptor, received - unread, sent, acknowledged, queued)


def abort(connection: Connection) -> None:
    """Close a connection at once, and discard its send queue."""
    # The descriptor may belong to another connection by the time of this call. A duplicate always stays with the socket
    # that it was made of, so its inode tells. If the connection has ended already, one of these calls fails.
    with suppress(OSError), socket.socket(fileno=os.dup(connection.descriptor)) as duplicate:
        if os.readlink(f"/proc/self/fd/{duplicate.fileno()}") != connection.inode:  # noqa: PTH115
            return
        # Otherwise the kernel would keep the send queue, and go on offering it to a client that reads nothing.
        duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        duplicate.shutdown(socket.SHUT_RDWR)
