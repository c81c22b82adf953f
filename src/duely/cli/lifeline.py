"""Child processes: their signal handlers, their end with the parent, and their names (decision 0020)."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from typing import TypeVar

from duely.cli.exits import Failure, failures_as_sentences

T = TypeVar("T")

# A fork shares the memory of its parent, which must have no other thread and no connection. On macOS system libraries
# start threads, so a child is a new interpreter there.
PROCESSES = multiprocessing.get_context("fork") if sys.platform == "linux" else multiprocessing.get_context("spawn")
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


@cache
def reset_signals_in_forks() -> None:
    """Give each later fork of this process, and its own forks, the default signal handlers.

    The parent's handlers write to the parent's pipe, so that a signal for the child would be lost or reach the parent.
    Signals are blocked during the fork, and delivered afterwards.
    """
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED),
        after_in_child=_reset_signals,
    )


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM when `parent` ends, even by SIGKILL. Does nothing except on Linux."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have ended before the call above.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def show_as(name: str) -> None:
    """Set the name of this process in `top` and `ps -e`, at most 15 characters. Does nothing except on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())


def run_in_child(run: Callable[[], T]) -> T:
    """Run a function in a child process and return its result.

    The child's threads and connections end with it, so that this process can still fork (decision 0020). If the
    function fails, the child prints the reason, and this process ends with the same exit code.
    """
    receiving, sending = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=_send_result, args=(run, sending, os.getpid()), daemon=True)
    child.start()
    sending.close()
    with receiving, suppress(EOFError):
        result: T = receiving.recv()
        child.join()
        return result
    child.join()
    code = child.exitcode or 0
    if code < 0:
        raise Failure(f"{run.__name__} was ended by signal {-code}.")
    raise SystemExit(code)


def _send_result(run: Callable[[], T], sending: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends, and this process with it
    end_with_parent(parent)
    with failures_as_sentences():
        sending.send(run())
