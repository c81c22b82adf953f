"""Work on many rows in short transactions, so that other requests write in between."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import transaction

TARGET_SECONDS = 0.02
"""Duration that a transaction aims at. Less than half of what one may take: rows differ, and disks stall."""
LONGEST_PAUSE_SECONDS = 0.25
FIRST, FEWEST, MOST = 50, 50, 500
"""Rows in a transaction: in the first one, and the bounds for those that follow."""


class Pace:
    """Chooses the number of rows of each transaction by the time that the one before took.

    After each transaction it pauses for as long as that took: other writers get at least half of the time.
    pause: sleeps for so many seconds.
    """

    def __init__(self, pause: Callable[[float], object] = time.sleep) -> None:
        self.rows = FIRST
        self._pause = pause

    @contextmanager
    def step(self) -> Iterator[int]:
        """One transaction; gives the number of rows that it should take."""
        with transaction.atomic():
            began = time.monotonic()  # the wait for the right to write is over
            yield self.rows
        seconds = time.monotonic() - began
        # Short transactions: others wait for a few milliseconds, however many rows there are (decision 0035).
        factor = min(max(TARGET_SECONDS / max(seconds, 0.0001), 0.5), 2.0)
        self.rows = min(max(int(self.rows * factor), FEWEST), MOST)
        self._pause(min(seconds, LONGEST_PAUSE_SECONDS))


def in_steps(act: Callable[[int], int], after_each: Callable[[], object]) -> None:
    """Call `act` with a number of rows until it returns 0, the number that it has done. Each call is a transaction."""
    pace = Pace()
    while True:
        with pace.step() as rows:
            done = act(rows)
        if not done:
            return
        after_each()
