"""Who writes next to an SQLite file.

SQLite lets everyone who finds the file locked sleep, longer each time, and try again. Who tries at the right moment
wins, however late they came, and in between the file stands idle. Here they stand in line, and the next one is called.

This is about the order alone: that one writes at a time is SQLite's own business. Where processes cannot have a common
line, nothing but the order is lost.
"""

import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable

import structlog

from duely.database.sqlite.file_locks import Baton

log = structlog.get_logger("duely.sqlite")

IN_A_ROW = 32
"""Turns of a process while another one waits that came later: a bound, should their clocks differ."""
SOON_SECONDS = 0.05
"""Who waits for longer than this is in nobody else's way meanwhile."""
LOOK_SECONDS = 1.0
"""How soon those who wait notice that who is to call them never will: a thread that is gone, a halted process."""

_while_waiting: list[Callable[[], object]] = []


def when_it_takes_long(call: Callable[[], object]) -> None:
    """Have this called in each thread whose turn does not come soon."""
    _while_waiting.append(call)


class Turn:
    """A place in the line. Who has been called writes, until they leave or nobody has this any more."""

    __slots__ = ("__weakref__", "called", "came_at")

    def __init__(self) -> None:
        self.came_at = time.monotonic()
        self.called = threading.Lock()
        self.called.acquire()


class Line:
    """The threads of this process that want to write to one file, and whether it is this process's turn."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._baton: Baton | None = None
        self.begin()

    def begin(self) -> None:
        """Be empty: at first, and in a process that was forked from one with this line."""
        if self._baton is not None:
            self._baton.close()
        self._mutex = threading.Lock()
        self._waiting: deque[Turn] = deque()
        self._writer: weakref.ref[Turn] | None = None
        self._baton, self._is_alone = None, False
        self._has_baton, self._in_a_row = False, 0
        self._asked_at = self._asked_for = math.inf
        self._asked = threading.Semaphore(0)
        self._keeper: threading.Thread | None = None

    def enter(self, seconds: float) -> Turn:
        """Wait until it is one's turn to write. Raises TimeoutError when it does not come in time."""
        turn = Turn()
        end = turn.came_at + seconds
        try:
            with self._mutex:
                self._waiting.append(turn)
                self._call_next()
            if not turn.called.acquire(timeout=min(SOON_SECONDS, seconds)):
                for call in _while_waiting:
                    call()
                while not turn.called.acquire(timeout=min(max(end - time.monotonic(), 0.0), LOOK_SECONDS)):
                    if time.monotonic() >= end:
                        raise TimeoutError
                    with self._mutex:
                        self._call_next()
        except BaseException:
            self.leave(turn)
            raise
        return turn

    def leave(self, turn: Turn) -> None:
        """Let the next one write, or wait no more."""
        with self._mutex:
            if self._writer is not None and self._writer() is turn:
                self._writer = None
            elif turn in self._waiting:
                self._waiting.remove(turn)
            self._call_next()

    # The mutex is locked in all that follows but `_keep`.

    def _call_next(self) -> None:
        if self._writer is not None and self._writer() is not None:
            return
        if not self._waiting:
            self._give_baton()
        elif self._is_ours(self._waiting[0].came_at):
            turn = self._waiting.popleft()
            self._writer = weakref.ref(turn)
            turn.called.release()

    def _is_ours(self, came_at: float) -> bool:
        """Whether it is this process's turn, for someone who came then. If not, `_keep` calls them when it is."""
        try:
            return self._is_alone or self._has_turn(came_at)
        except OSError as error:
            self._go_alone(error)
            return True

    def _has_turn(self, came_at: float) -> bool:
        baton = self._baton = self._baton or Baton(self._path)
        if self._asked_at < math.inf:
            # Whoever has it may stand still. Then SQLite's own lock tells whether one can write.
            return time.monotonic() >= self._asked_at + LOOK_SECONDS
        if self._has_baton:
            since = baton.awaited_since()
            if came_at <= since and (self._in_a_row < IN_A_ROW or since == math.inf):
                self._in_a_row += 1
                return True
            self._give_baton()
        elif baton.take():
            self._has_baton, self._in_a_row = True, 0
            return True
        self._asked_at, self._asked_for = time.monotonic(), came_at
        self._asked.release()
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, args=[baton], name="duely.sqlite", daemon=True)
            self._keeper.start()
        return False

    def _give_baton(self) -> None:
        if self._has_baton and self._baton is not None:
            self._has_baton = False
            self._baton.give()

    def _go_alone(self, error: OSError) -> None:
        log.warning("this process waits for no other one to write", reason=str(error))
        self._is_alone, self._has_baton, self._asked_at = True, False, math.inf
        if self._baton is not None:
            self._baton.close()
            self._baton = None

    def _keep(self, baton: Baton) -> None:
        """Wait for the baton whenever it is asked for.

        In a thread of its own: a lock on a file is waited for without end, and those in line give up after some time.
        """
        while True:
            self._asked.acquire()
            try:
                baton.wait(self._asked_for)
            except OSError as error:
                with self._mutex:
                    self._go_alone(error)
                    self._call_next()
                return
            with self._mutex:
                self._has_baton, self._in_a_row, self._asked_at = True, 0, math.inf
                self._call_next()
                baton.let_follow()


_lines: dict[str, Line] = {}


def line_of(path: str) -> Line:
    """The line before a database file."""
    path = os.path.realpath(path)
    return _lines.get(path) or _lines.setdefault(path, Line(path))


def _begin_anew() -> None:
    for line in _lines.values():
        line.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
