"""How a web process stops: once, in order, and without losing a connection that a client has just made."""

import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from duely.http import drain
from duely.http.drain import Stage
from duely.http.sockets import open_sockets

LOOK_SECONDS = 0.05
ACCEPT_SECONDS = 0.2
"""How long connections that were made before are still accepted, once no new ones can be made."""

_SO_ATTACH_FILTER = 26
# A classic BPF program over the TCP header: drop what opens a connection (SYN without ACK), pass everything else.
_FLAGS, _SYN_ACK, _SYN = 13, 0x12, 0x02
_NO_NEW_CONNECTIONS = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, _FLAGS),  # load the byte of the flags
        (0x54, 0, 0, _SYN_ACK),  # keep SYN and ACK of it
        (0x15, 0, 1, _SYN),  # SYN alone?
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFF),  # pass
    )
)


def stop_in_order(stop: Callable[[], object], *, port: int, most_seconds: float) -> None:
    """In a web process: at SIGTERM or SIGINT wait for the drain, refuse new connections, then call `stop` once.

    Signals are read from a pipe, in a thread. Python's own handlers run in the main thread alone, which may miss a
    signal that comes just before it begins to wait. granian's handler, called several times, never returns.

    port: where this process listens. most_seconds: how long to wait when nobody says that the drain is over.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _noted)
    # Handlers run in the main thread, which misses a signal that comes just before it waits (decision 0032).
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    Thread(target=_stop_when_told, args=(reading, stop, port, most_seconds), name="duely-stop", daemon=True).start()


def _noted(number: int, frame: object) -> None:
    """A handler must exist for the pipe to be written."""


def _stop_when_told(reading: int, stop: Callable[[], object], port: int, most_seconds: float) -> None:
    parent = os.getppid()
    while not {signal.SIGTERM, signal.SIGINT}.intersection(os.read(reading, 64)):
        pass
    if drain.stage() == Stage.SERVING:
        # A service manager may signal all processes at once: then this one is told before its parent has begun.
        drain.enter(Stage.DRAINING)
    end = time.monotonic() + most_seconds
    while drain.stage() != Stage.FINISHING and time.monotonic() < end and os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    if refuse_new_connections(port):
        time.sleep(ACCEPT_SECONDS)
    stop()


def refuse_new_connections(port: int) -> bool:
    """Let nobody connect to `port` of this process any more; connections that are made already stay.

    A socket that stops listening resets the connections that wait to be accepted, with the requests that clients have
    sent by then. With this nobody waits any more when it stops. A client that connects meanwhile tries again after a
    second (RFC 6298), and reaches the next process that listens, or is refused. Does nothing but on Linux.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    program = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS)
    filter_of = struct.pack("HL", len(_NO_NEW_CONNECTIONS) // 8, ctypes.addressof(program))
    refused = False
    for opened in open_sockets(port):
        if opened.is_listening:
            with suppress(OSError):  # closed by now
                opened.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_of)
                refused = True
    return refused
