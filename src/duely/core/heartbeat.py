"""Heartbeat files, which loops touch while they work, for `duely health`. Standard library only."""

import time
from pathlib import Path

BEAT_SECONDS = 5.0
OLDEST_BEAT_SECONDS = 20.0
"""A loop that waits for a hanging database is a few seconds late."""


def beat_file(data_dir: Path, name: str) -> Path:
    """The heartbeat file of the loop of a worker or scheduler."""
    return data_dir / "run" / f"{name}.beat"


def age_seconds(path: Path) -> float:
    """How long ago the file was touched. Raises OSError if it does not exist."""
    return max(time.time() - path.stat().st_mtime, 0.0)


class Heart:
    """Touches the file of one process, at most every BEAT_SECONDS. Reports only once that it cannot write."""

    def __init__(self, data_dir: Path, name: str) -> None:
        self._path = beat_file(data_dir, name)
        self._next = 0.0
        self.fault: str | None = None

    def beat(self) -> bool:
        """Touch the file. Returns False the first time that it cannot be written; `fault` is the reason."""
        now = time.monotonic()
        if self.fault is not None or now < self._next:
            return True
        self._next = now + BEAT_SECONDS
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:
            self.fault = f"{self._path}: {error.strerror}"
            return False
        return True
