"""The registry of jobs: functions with a name and options for the queue."""

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

    attempts: tries before the job is dead. timeout_seconds: the longest duration of one attempt. urgent: taken before
    other jobs. every: the interval of a scheduled job, else None.
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
    """Make a function `f(running, **ids)` a job for `enqueue`.

    The queue calls the function with a `Running` and the ids that were queued. A job may run more than once, and even
    twice at the same time after its worker lost the lease. So its writes belong in `running.finish`, which commits only
    those of the current lease (decision 0008).
    """

    def define(run: Function) -> Definition:
        definition = Definition(name, run, attempts, timeout_seconds, urgent, every)
        if _known.setdefault(name, definition) is not definition:
            raise ValueError(f"there are two jobs called {name}")  # a fault of the programmer, seen at the start
        return definition

    return define


def known() -> Mapping[str, Definition]:
    """Every job of every installed module, by name."""
    _discover()
    return MappingProxyType(_known)


def named(name: str) -> Definition:
    """The job of this name. For actions, which cannot import the jobs of their module, a higher layer."""
    return known()[name]


@cache
def _discover() -> None:
    from django.utils.module_loading import autodiscover_modules

    autodiscover_modules("jobs")


Ids = Mapping[str, Any]
"""The arguments of a job: ids and other small JSON values, never objects."""
