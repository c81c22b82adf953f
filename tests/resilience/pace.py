"""Clients that call at a steady pace and note how long each answer took."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.resilience.writers import Client, NoAnswer, NoConnection


@dataclass(frozen=True, slots=True)
class Call:
    """One call; instants as time.time() has them. status: None when there was no answer."""

    kind: str
    began: float
    seconds: float
    status: int | None

    @property
    def failed(self) -> bool:
        """Whether the client did not get what it asked for."""
        return self.status is None or self.status >= 400


Turn = Callable[[Client], tuple[str, int]]
"""One call: returns what kind it was, and the status. May raise NoConnection, NoAnswer."""


class Caller(threading.Thread):
    """One connection that takes its turn every so often; late turns are not made up for."""

    def __init__(self, name: str, *, port: int, every_seconds: float, turn: Turn) -> None:
        super().__init__(name=name, daemon=True)
        self.calls: list[Call] = []
        self.failure: str | None = None
        self._client = Client(port)
        self._every_seconds = every_seconds
        self._turn = turn
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take no more turns."""
        self._stopping.set()

    def run(self) -> None:
        """Until told to stop."""
        due = time.monotonic()
        try:
            while not self._stopping.wait(max(due - time.monotonic(), 0.0)):
                due = max(due + self._every_seconds, time.monotonic())
                self.calls.append(self._call())
        except Exception as error:  # noqa: BLE001 - told in the figures, not on a screen that nobody reads
            self.failure = f"{self.name}: {error!r}"
        finally:
            self._client.close()

    def _call(self) -> Call:
        began, clock = time.time(), time.perf_counter()
        kind: str = "none"
        status: int | None = None
        try:
            kind, status = self._turn(self._client)
        except (NoConnection, NoAnswer):
            status = None
        return Call(kind, began, time.perf_counter() - clock, status)


def within(callers: Iterable[Caller], start: float, end: float) -> list[Call]:
    """The calls that were under way at some time between these instants."""
    calls = (call for caller in callers for call in list(caller.calls))
    return [call for call in calls if call.began < end and call.began + call.seconds > start]


def percentile_ms(calls: Sequence[Call], share: float) -> float | None:
    """So many ms, or less, took this share of the calls."""
    if not calls:
        return None
    times = sorted(call.seconds for call in calls)
    return round(times[min(int(len(times) * share), len(times) - 1)] * 1000, 1)


def ratio(figure: float | None, base: float | None) -> float | None:
    """How much more this is than that."""
    return round(figure / base, 2) if figure is not None and base else None
