"""Work on many rows in short transactions, so that other requests write in between."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import transaction

TARGET_SECONDS = 0.02
"""Target duration of a transaction. Less than half of the allowed one, because rows differ and disks stall."""
LONGEST_PAUSE_SECONDS = 0.25
FIRST_ROWS, MIN_ROWS, MAX_ROWS = 50, 50, 500
"""Rows of the first transaction, and the bounds for the following ones."""


class Pace:
    """Chooses the number of rows of each transaction by the duration of the previous one.

    After each transaction it pauses for the same time, so that other writers get at least half of the time
    (decision 0035). pause: called with the seconds to sleep.
    """

    def __init__(self, pause: Callable[[float], object] = time.sleep) -> None:
        self.rows = FIRST_ROWS
        self._pause = pause

    @contextmanager
    def step(self) -> Iterator[int]:
        """A context with one transaction. Yields the number of rows that it should change."""
        with transaction.atomic():
            started_at = time.monotonic()  # on SQLite the wait for other writers is over here
            yield self.rows
        seconds = time.monotonic() - started_at
        # Short transactions: others wait for a few milliseconds, however many rows there are (decision 0035).
        factor = min(max(TARGET_SECONDS / max(seconds, 0.0001), 0.5), 2.0)
        self.rows = min(max(int(self.rows * factor), MIN_ROWS), MAX_ROWS)
        self._pause(min(seconds, LONGEST_PAUSE_SECONDS))


def in_steps(act: Callable[[int], int], after_each: Callable[[], object]) -> None:
    """Call `act` with a number of rows, each time in a transaction, until it returns 0 changed rows."""
    pace = Pace()
    while True:
        with pace.step() as rows:
            changed_rows = act(rows)
        if not changed_rows:
            return
        after_each()
