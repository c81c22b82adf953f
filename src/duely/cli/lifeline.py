"""Child processes: how they are made, end with their parent, and are called."""

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

from duely.cli.exits import Failure, told_plainly

T = TypeVar("T")

# A fork has, and shares, what its parent has loaded. The parent must have no other thread, and nothing open that is
# not to be shared. macOS has threads of its own in many a process: there a child is a new interpreter.
PROCESSES = multiprocessing.get_context("fork") if sys.platform == "linux" else multiprocessing.get_context("spawn")
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


@cache
def begin_forks_anew() -> None:
    """From now on each fork of this process, and each of theirs, begins with the usual handlers for signals.

    Those of its parent do nothing in it: what it is told would be lost, or be told to the parent, by its pipe. Signals
    wait meanwhile.
    """
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED),
        after_in_child=_forget_handlers,
    )


def _forget_handlers() -> None:
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def end_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when `parent` dies, killed or not; ends at once when it is dead already.

    On Linux; elsewhere it does nothing, as `show_as`.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def show_as(name: str) -> None:
    """Let `top` and `ps -e` show this process by a name of at most 15 characters; its arguments stay as they are."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())


def apart(run: Callable[[], T]) -> T:
    """What `run` returns, run in a child that is gone afterwards with its threads and connections.

    When it fails, the child says why, and this process ends with the same exit code.
    """
    ours, theirs = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=_answer, args=(run, theirs, os.getpid()), daemon=True)
    child.start()
    theirs.close()
    with ours, suppress(EOFError):
        answer: T = ours.recv()
        child.join()
        return answer
    child.join()
    code = child.exitcode or 0
    if code < 0:
        raise Failure(f"{run.__name__} was ended by signal {-code}.")
    raise SystemExit(code)


def _answer(run: Callable[[], T], answer: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    end_with_parent(parent)
    with told_plainly():
        answer.send(run())
