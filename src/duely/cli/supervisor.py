"""Runs child processes, restarts those that die, and stops all of them (decision 0020)."""

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

from duely.cli.exits import failures_as_sentences
from duely.cli.lifeline import HANDLED, PROCESSES, end_with_parent, reset_signals_in_forks, show_as

log = structlog.get_logger("duely.supervisor")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
FIRST_DELAY_SECONDS = 0.1
# By whether the child was ready. One that could not start may depend on something slow.
LONGEST_DELAY_SECONDS = {True: 1.0, False: 5.0}
HEALTHY_SECONDS = 10.0
FAILED_STARTS_ALLOWED = 5
READY_POLL_SECONDS = 0.05
ORPHANS_GRACE_SECONDS = 3.0
# On Linux the kernel has sent SIGTERM to orphans already (see lifeline). A second one can hang a granian worker in its
# signal handler, which holds the interpreter lock (decision 0032). Signal 0 only checks whether a process exists.
ORPHAN_SIGNAL = 0 if sys.platform == "linux" else signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Command:
    """The function that a child process runs.

    run: a function of a module; may raise Failure. ready: polled until it returns True for the first time.
    """

    name: str
    run: Callable[[], None]
    ready: Callable[[], bool] = lambda: True


@dataclass(slots=True)
class Child:
    """The current process of a command, and the history of its restarts."""

    command: Command
    process: BaseProcess | None = None
    ready_at: float | None = None
    due_at: float = 0.0
    short_lives: int = 0
    failed_starts: int = 0


class ChildCannotStart(Exception):
    """A child died before it was ready, FAILED_STARTS_ALLOWED times in a row."""

    def __init__(self, name: str, code: int) -> None:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        super().__init__(f"{name} could not start {FAILED_STARTS_ALLOWED} times in a row; the last one ended by {how}.")


@dataclass(slots=True)
class Supervisor:
    """Runs `commands` until SIGTERM or SIGINT; SIGHUP is ignored.

    on_ready: called once, when all children are ready for the first time.
    drain_seconds: how long children may take to end after SIGTERM. Then they are killed.
    wait_seconds: how long children may serve on after SIGTERM. A second SIGTERM or SIGINT in that time is passed on, so
    that they end sooner. Later it kills them.
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
        """Run until a stop signal. Raises ChildCannotStart if a child never becomes ready."""
        reset_signals_in_forks()
        with self._signals():
            self._children = [Child(command) for command in self.commands]
            try:
                while not self._stop_requested(self._wait(self._pause())):
                    self._check_children()
            finally:
                self._drain()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Receive signals as bytes on a pipe, so that no handler runs in the middle of other code."""
        self._wakeup, write = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write, False)
        previous_handlers = {number: signal.signal(number, _do_nothing) for number in HANDLED}
        previous_handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        previous_fd = signal.set_wakeup_fd(write)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous_fd)
            for number, handler in previous_handlers.items():
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
        deadlines = [child.due_at for child in self._children if child.process is None]
        if any(child.process is not None and child.ready_at is None for child in self._children):
            deadlines.append(now + READY_POLL_SECONDS)
        deadlines.extend(self._orphans.values())
        return max(0.0, min(deadlines) - now) if deadlines else None

    def _check_children(self) -> None:
        for child in self._children:
            if child.process is None:
                self._start_when_due(child)
            elif child.process.exitcode is not None:
                self._plan_restart(child, _pid(child.process), child.process.exitcode)
            elif child.ready_at is None and child.command.ready():
                child.ready_at = time.monotonic()
                child.failed_starts = 0
        self._kill_late_orphans()
        if not self._announced and all(child.ready_at is not None for child in self._children):
            self._announced = True
            self.on_ready()

    def _start_when_due(self, child: Child) -> None:
        if time.monotonic() < child.due_at:
            return
        process = PROCESSES.Process(target=_run_child, args=(child.command.name, child.command.run, os.getpid()))
        process.start()
        _make_group_leader(_pid(process))
        child.process, child.ready_at = process, None

    def _plan_restart(self, child: Child, group: int, code: int) -> None:
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

    def _end_orphans_of(self, group: int) -> None:
        """End the children of a child that was killed with SIGKILL, which could not end them itself."""
        if _signal_group(group, ORPHAN_SIGNAL):
            self._orphans[group] = time.monotonic() + ORPHANS_GRACE_SECONDS

    def _kill_late_orphans(self) -> None:
        now = time.monotonic()
        for group in [group for group, deadline in self._orphans.items() if deadline <= now]:
            _signal_group(group, signal.SIGKILL)
            del self._orphans[group]

    def _drain(self) -> None:
        serving_until = time.monotonic() + self.wait_seconds
        deadline = time.monotonic() + self.drain_seconds
        running = [child.process for child in self._children if child.process is not None]
        log.info("stopping, running requests finish first")
        for process in running:
            process.terminate()
        while any(process.exitcode is None for process in running):
            seconds_left = deadline - time.monotonic()
            is_second_signal = seconds_left > 0 and self._stop_requested(self._wait(seconds_left))
            if is_second_signal and time.monotonic() < serving_until:
                serving_until = 0.0
                for process in running:
                    process.terminate()
            elif is_second_signal or seconds_left <= 0:
                log.warning("children did not finish in time and are killed")
                break
        for group in [*map(_pid, running), *self._orphans]:
            _signal_group(group, signal.SIGKILL)
        for process in running:
            process.join()


def _do_nothing(number: int, frame: object) -> None:
    """A handler for the signals, without which Python does not write to the wakeup pipe."""


def _run_child(name: str, run: Callable[[], None], supervisor: int) -> None:
    """Set up a child process and run its function."""
    _make_group_leader(os.getpid())
    end_with_parent(supervisor)
    show_as(f"duely {name}")
    with failures_as_sentences():
        run()


def _make_group_leader(pid: int) -> None:
    """Make a child the leader of its own process group.

    Then Ctrl-C reaches only the supervisor, and the children of a killed child can be ended. Both the child and the
    supervisor call this, because neither waits for the other.
    """
    with suppress(ProcessLookupError, PermissionError):  # the process has ended, or it has called exec
        os.setpgid(pid, pid)


def _pid(process: BaseProcess) -> int:
    assert process.pid is not None  # noqa: S101 - every stored process was started
    return process.pid


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group. Returns whether the group has any process."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
