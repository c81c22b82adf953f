"""Whether this server is about to stop: one byte that all its processes share (decision 0032)."""

from enum import IntEnum
from typing import Any


class Stage(IntEnum):
    """The stages of a stop."""

    SERVING = 0
    DRAINING = 1
    """Requests are answered, but `/readyz` answers 503 and each answer has `Connection: close`."""
    FINISHING = 2
    """New connections are not accepted; running requests are finished."""
    ENDING = 3
    """The process is killed in a few seconds: requests that can be repeated stop between two transactions."""


_shared: Any = bytearray(1)


def share(memory: Any) -> None:
    """Store the stage in this memory, which the processes of one server share. The default is not shared."""
    global _shared  # noqa: PLW0603 - set once in each process, before it serves
    _shared = memory


def stage() -> int:
    """The stage of this server as a plain number, because every request asks for it."""
    number: int = _shared[0]
    return number


def enter(stage: Stage) -> None:
    """Set the stage for all processes of this server."""
    _shared[0] = stage
