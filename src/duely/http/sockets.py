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
