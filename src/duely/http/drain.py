"""Whether this server is about to stop: one byte that all its processes share."""

from enum import IntEnum
from typing import Any


class Stage(IntEnum):
    """How far a stop has come."""

    SERVING = 0
    DRAINING = 1
    """Requests are answered, and clients asked to go elsewhere: `/readyz` says 503, answers say `Connection: close`."""
    FINISHING = 2
    """No new connection is accepted; requests that are under way are finished."""


_shared: Any = bytearray(1)


def share(memory: Any) -> None:
    """Use this byte from now on. `memory` is shared by the processes of one server, which the default is not."""
    global _shared  # noqa: PLW0603 - set once in each process, before it serves
    _shared = memory


def stage() -> int:
    """The stage of this server, see Stage. Asked for with each request, so it is a plain number."""
    number: int = _shared[0]
    return number


def enter(stage: Stage) -> None:
    """Tell all processes of this server."""
    _shared[0] = stage
