"""What jobs there are: functions named for the queue, and what the queue must know of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import Any

Function = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Definition:
    """A kind of job.

    attempts: how often it is tried before it counts as dead. timeout_seconds: how long one attempt may take; longer
    ones are given up. urgent: claimed before those that are not. every: for one that runs by the clock, how often.
    """

    name: str
    run: Function
    attempts: int
    timeout_seconds: int
    urgent: bool
    every: timedelta | None


_known: dict[str, Definition] = {}


def job(
    name: str, *, attempts: int = 10, timeout_seconds: int = 60, urgent: bool = False, every: timedelta | None = None
) -> Callable[[Function], Definition]:
    """Make a function `f(running, **ids)` a job that `enqueue` takes.

    It is called with a `Running` first, then with the ids it was queued with. It may run more than once, also at the
    same time in two places when its worker was silent for too long: its writes belong into `running.finish`, which
    lets only one of them stand.
    """

    def define(run: Function) -> Definition:
        definition = Definition(name, run, attempts, timeout_seconds, urgent, every)
        if _known.setdefault(name, definition) is not definition:
            raise ValueError(f"there are two jobs called {name}")
        return definition

    return define


def known() -> Mapping[str, Definition]:
    """Every job of every installed module, by name."""
    _discover()
    return MappingProxyType(_known)


def named(name: str) -> Definition:
    """The job of this name, for actions, which stand below their module's jobs and cannot import them."""
    return known()[name]


@cache
def _discover() -> None:
    from django.utils.module_loading import autodiscover_modules

    autodiscover_modules("jobs")


Ids = Mapping[str, Any]
"""What a job is called with: ids and other small JSON values, never objects."""
