"""The processor time that one import may take to read its file."""

import time

from duely.core.errors import Refused
from duely.database.slots import yield_slot

BASE_SECONDS = 1.0
SECONDS_PER_BYTE = 100e-6
"""Of the upload, packed or not. A list of titles, the shortest rows that people have, takes a third of it."""
SECONDS_PER_TASK = 100e-6
"""What a task costs at least after it was read: it is read again, and compared with what is there."""
MAX_SECONDS = 300.0
SLICE_SECONDS = 0.05
"""After so much work, other requests get their turn."""


class ImportTooCostly(Refused):
    """Reading the file takes more processor time than the limit for its size. Nothing was imported."""

    code = "import_too_costly"
    status = 422
    title = "The file takes too much processor time to read."


class Budget:
    """A limit for the processor time of this thread, which grows with the size of the upload."""

    def __init__(self, size: int) -> None:
        self.seconds = min(BASE_SECONDS + SECONDS_PER_BYTE * size, MAX_SECONDS)
        self._ends = time.thread_time() + self.seconds
        self._next_turn = time.thread_time() + SLICE_SECONDS

    def charge(self, seconds: float) -> None:
        """Count work that will follow."""
        self._ends -= seconds

    def check(self) -> None:
        """Let other requests work from time to time. Raises ImportTooCostly (422) when the time is used up."""
        used = time.thread_time()
        if used > self._ends:
            raise ImportTooCostly(
                f"The limit for a file of this size is {self.seconds:.0f} s of processor time. Nothing was imported. "
                "Split the file, or send it uncompressed."
            )
        if used > self._next_turn:
            yield_slot()
            self._next_turn = time.thread_time() + SLICE_SECONDS
