"""Keeps child processes running: restarts one that dies, ends them all in order."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

import structlog

from duely.cli.exits import told_plainly
from duely.cli.lifeline import HANDLED, PROCESSES, begin_forks_anew, end_with_parent, show_as

log = structlog.get_logger("duely.supervisor")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
FIRST_DELAY_SECONDS = 0.1
# A child that has worked comes back soon; one that does not even start may be waiting for something slow.
LONGEST_DELAY_SECONDS = {True: 1.0, False: 5.0}
HEALTHY_SECONDS = 10.0
FAILED_STARTS_ALLOWED = 5
READY_POLL_SECONDS = 0.05
ORPHANS_GRACE_SECONDS = 3.0
# On Linux the kernel has asked them to end already (see lifeline); asked twice, a granian worker can hang in its
# signal handler with the interpreter's lock in its hands. Signal 0 only asks whether anyone is there.
TO_ORPHANS = 0 if sys.platform == "linux" else signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Command:
    """What one child runs, and goes on running. `ready` tells whether it works by now; it is asked until it says yes.

    run: a function of a module. It may raise Failure.
    """

    name: str
    run: Callable[[], None]
    ready: Callable[[], bool] = lambda: True


@dataclass(slots=True)
class Child:
    """One command's process through its restarts."""

    command: Command
    process: BaseProcess | None = None
    ready_at: float | None = None
    due_at: float = 0.0
    short_lives: int = 0
    failed_starts: int = 0


class ChildCannotStart(Exception):
    """A child died before it was ready, several times in a row."""

    def __init__(self, name: str, code: int) -> None:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        super().__init__(f"{name} could not start {FAILED_STARTS_ALLOWED} times in a row; the last one ended by {how}.")


@dataclass(slots=True)
class Supervisor:
    """Runs `commands` until SIGTERM or SIGINT; SIGHUP is ignored.

    on_ready: called once, when every child is ready for the first time.
    drain_seconds: how long children may take to finish after SIGTERM, before they are killed.
    wait_seconds: how long they may wait before they begin to. A second SIGTERM or SIGINT in that time is passed on, so
    that they begin at once; later it kills them.
    """

    commands: Sequence[Command]
    on_ready: Callable[[], None] = lambda: None
    drain_seconds: float = 30.0
    wait_seconds: float = 0.0
    _children: list[Child] = field(default_factory=list)
    _orphans: dict[int, float] = field(default_factory=dict)
    _announced: bool = False
    _wakeup: int = -1

    def run(self) -> None:
        """Return after a requested stop. Raises ChildCannotStart when a child never gets ready."""
        begin_forks_anew()
        with self._signals():
            self._children = [Child(command) for command in self.commands]
            try:
                while not self._stop_requested(self._wait(self._pause())):
                    self._look_after_all()
            finally:
                self._drain()

    # Signals arrive as bytes on a pipe: no handler runs code of ours at an unsuitable moment.

    @contextmanager
    def _signals(self) -> Iterator[None]:
        self._wakeup, write = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write, False)
        before = {number: signal.signal(number, _noted) for number in HANDLED}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        fd_before = signal.set_wakeup_fd(write)
        try:
            yield
        finally:
            signal.set_wakeup_fd(fd_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._wakeup)
            os.close(write)

    def _wait(self, seconds: float | None) -> bytes:
        readable, _, _ = select.select([self._wakeup], [], [], seconds)
        with suppress(BlockingIOError):
            return os.read(self._wakeup, 4096) if readable else b""
        return b""

    @staticmethod
    def _stop_requested(received: bytes) -> bool:
        return any(number in received for number in STOP_SIGNALS)

    def _pause(self) -> float | None:
        now = time.monotonic()
        moments = [child.due_at for child in self._children if child.process is None]
        if any(child.process is not None and child.ready_at is None for child in self._children):
            moments.append(now + READY_POLL_SECONDS)
        moments.extend(self._orphans.values())
        return max(0.0, min(moments) - now) if moments else None

    def _look_after_all(self) -> None:
        for child in self._children:
            if child.process is None:
                self._start_when_due(child)
            elif (code := child.process.exitcode) is not None:
                self._bury(child, _pid(child.process), code)
            elif child.ready_at is None and child.command.ready():
                self._note_ready(child)
        self._kill_late_orphans()
        if not self._announced and all(child.ready_at is not None for child in self._children):
            self._announced = True
            self.on_ready()

    def _start_when_due(self, child: Child) -> None:
        if time.monotonic() < child.due_at:
            return
        process = PROCESSES.Process(target=_begin, args=(child.command.name, child.command.run, os.getpid()))
        process.start()
        _lead_a_group(_pid(process))
        child.process, child.ready_at = process, None

    def _note_ready(self, child: Child) -> None:
        child.ready_at = time.monotonic()
        child.failed_starts = 0

    def _bury(self, child: Child, group: int, code: int) -> None:
        now = time.monotonic()
        was_ready = child.ready_at is not None
        if child.ready_at is not None and now - child.ready_at >= HEALTHY_SECONDS:
            child.short_lives = 0
        delay = min(FIRST_DELAY_SECONDS * 2**child.short_lives, LONGEST_DELAY_SECONDS[was_ready])
        log.warning("child ended, starting it again", child=child.command.name, code=code, seconds=round(delay, 1))
        self._end_orphans_of(group)
        child.process, child.ready_at, child.due_at = None, None, now + delay
        child.short_lives = min(child.short_lives + 1, 10)
        if not was_ready:
            child.failed_starts += 1
            if child.failed_starts >= FAILED_STARTS_ALLOWED:
                raise ChildCannotStart(child.command.name, code)

    # A child killed with SIGKILL leaves its own children behind.

    def _end_orphans_of(self, group: int) -> None:
        if _signal_group(group, TO_ORPHANS):
            self._orphans[group] = time.monotonic() + ORPHANS_GRACE_SECONDS

    def _kill_late_orphans(self) -> None:
        now = time.monotonic()
        for group in [group for group, deadline in self._orphans.items() if deadline <= now]:
            _signal_group(group, signal.SIGKILL)
            del self._orphans[group]

    def _drain(self) -> None:
        waits_until = time.monotonic() + self.wait_seconds
        deadline = time.monotonic() + self.drain_seconds
        running = [child.process for child in self._children if child.process is not None]
        log.info("stopping, running requests finish first")
        for process in running:
            process.terminate()
        while any(process.exitcode is None for process in running):
            left = deadline - time.monotonic()
            is_told_again = left > 0 and self._stop_requested(self._wait(left))
            if is_told_again and time.monotonic() < waits_until:
                waits_until = 0.0
                for process in running:
                    process.terminate()
            elif is_told_again or left <= 0:
                log.warning("children did not finish in time and are killed")
                break
        for group in [*map(_pid, running), *self._orphans]:
            _signal_group(group, signal.SIGKILL)
        for process in running:
            process.join()


def _noted(number: int, frame: object) -> None:
    """A handler must exist for the wakeup pipe to be written; it has nothing to do."""


def _begin(name: str, run: Callable[[], None], supervisor: int) -> None:
    """The life of a child."""
    _lead_a_group(os.getpid())
    end_with_parent(supervisor)
    show_as(f"duely {name}")
    with told_plainly():
        run()


def _lead_a_group(pid: int) -> None:
    """A group of its own: Ctrl-C reaches the supervisor alone, and what a killed child leaves can be ended.

    Both the child and the supervisor see to it, because neither can wait for the other.
    """
    with suppress(ProcessLookupError, PermissionError):  # it has ended; it is a new interpreter by now
        os.setpgid(pid, pid)


def _pid(process: BaseProcess) -> int:
    assert process.pid is not None  # noqa: S101 - only those that were started are kept
    return process.pid


def _signal_group(group: int, number: int) -> bool:
    """Whether anything in the group was left to signal."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
