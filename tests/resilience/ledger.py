"""What clients asked for and what they were told: the ledger that a run is judged by."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from uuid import UUID


class Outcome(StrEnum):
    """What the client knows about its request."""

    ACKNOWLEDGED = "acknowledged"  # a complete 2xx answer
    UNKNOWN = "unknown"  # the connection died, or the service said 503: it may have happened, once
    REFUSED = "refused"  # a complete 4xx or 500: it must not have happened
    UNSENT = "unsent"  # there was no connection: it cannot have happened


class Verb(StrEnum):
    """What a write does to its target."""

    CREATE = "created"
    UPDATE = "updated"
    DELETE = "deleted"


class Kind(StrEnum):
    """What a write is of, by the name that the change log has for it."""

    TASK = "task"
    CATEGORY = "category"


@dataclass(slots=True)
class Attempt:
    """One request that writes. `label` is the unique title or name that it sets; `target` is None until it is known."""

    writer: int
    request_id: str
    verb: Verb
    kind: Kind
    target: UUID | None
    label: str | None
    outcome: Outcome = Outcome.UNSENT
    status: int | None = None
    timed_out: bool = False


@dataclass(slots=True)
class Board:
    """What all writers report, as they go."""

    statuses: Counter[int] = field(default_factory=Counter)
    timeouts: int = 0
    retries: int = 0
    surprises: list[str] = field(default_factory=list)
    sessions_lost: list[str] = field(default_factory=list)
    acknowledged_at: list[float] = field(default_factory=list)
    _begun_at: float = 0.0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def note_status(self, status: int) -> None:
        """Count an answer."""
        with self._changed:
            self.statuses[status] += 1

    def note_timeout(self) -> None:
        """Count a request that nobody answered in time."""
        with self._changed:
            self.timeouts += 1

    def note_retry(self) -> None:
        """Count a request with a key that is sent once more."""
        with self._changed:
            self.retries += 1

    def note_surprise(self, text: str) -> None:
        """Keep an answer that nobody should get."""
        with self._changed:
            self.surprises.append(text)

    def note_lost_session(self, text: str) -> None:
        """Keep a session that was refused though nobody ended it."""
        with self._changed:
            self.sessions_lost.append(text)

    def note_acknowledged(self, *, began: float, ended: float) -> None:
        """Note when a write that was acknowledged began and ended."""
        with self._changed:
            self.acknowledged_at.append(ended)
            self._begun_at = max(self._begun_at, began)
            self._changed.notify_all()

    def wait_for_write_begun_after(self, moment: float, seconds: float) -> float | None:
        """The instant when a write that began after `moment` was acknowledged; None when none was in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._begun_at > moment, seconds):
                return None
            return self.acknowledged_at[-1]

    def longest_gap_seconds(self, start: float, end: float) -> float:
        """The longest time between `start` and `end` in which no writer at all was served."""
        with self._changed:
            moments = sorted(moment for moment in self.acknowledged_at if start <= moment <= end)
        edges = [start, *moments, end]
        return max(after - before for before, after in pairwise(edges))
