"""Stops a web process without losing connections that clients have just made (decision 0032)."""

import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from duely.core import drain
from duely.core.drain import Stage
from duely.http.sockets import open_sockets

POLL_SECONDS = 0.05
ACCEPT_SECONDS = 0.2
"""How long waiting connections are still accepted after new ones are refused."""

_SO_ATTACH_FILTER = 26
# A classic BPF program over the TCP header that drops packets that open a connection (SYN without ACK).
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


def drain_then_stop(stop: Callable[[], object], *, port: int, max_seconds: float) -> None:
    """At SIGTERM or SIGINT wait for the end of the drain, refuse new connections, and call `stop` once.

    A thread reads the signals from a pipe. Python's own handlers run in the main thread, which may miss a signal that
    arrives just before it begins to wait. granian's own handler hangs if it is called several times (decision 0032).

    port: the port of this process. max_seconds: the longest wait, if the main process does not end the drain.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _do_nothing)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    Thread(target=_stop_on_signal, args=(reading, stop, port, max_seconds), name="duely-stop", daemon=True).start()


def _do_nothing(number: int, frame: object) -> None:
    """A handler for the signals, without which Python does not write to the pipe."""


def _stop_on_signal(reading: int, stop: Callable[[], object], port: int, max_seconds: float) -> None:
    parent = os.getppid()
    while not {signal.SIGTERM, signal.SIGINT}.intersection(os.read(reading, 64)):
        pass
    if drain.stage() == Stage.SERVING:
        # A service manager may signal all processes at once, so that this one is signalled before its parent.
        drain.enter(Stage.DRAINING)
    deadline = time.monotonic() + max_seconds
    while drain.stage() < Stage.FINISHING and time.monotonic() < deadline and os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    if refuse_new_connections(port):
        time.sleep(ACCEPT_SECONDS)
    stop()


def refuse_new_connections(port: int) -> bool:
    """Drop new connections to `port` of this process. Existing connections stay. Returns whether it worked.

    A socket that stops listening resets the connections that wait to be accepted, with the requests that clients have
    sent. With this filter none is waiting when it stops. A client whose SYN was dropped tries again after a second
    (RFC 6298), and reaches the next process that listens, or is refused. Does nothing except on Linux.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    program = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS)
    filter_program = struct.pack("HL", len(_NO_NEW_CONNECTIONS) // 8, ctypes.addressof(program))
    is_filtered = False
    for opened in open_sockets(port):
        if opened.is_listening:
            with suppress(OSError):  # the socket was closed since
                opened.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_program)
                is_filtered = True
    return is_filtered
