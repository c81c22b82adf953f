"""Runs one job: what it does, and what becomes of it afterwards."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from duely.jobs.leases import Leases
from duely.jobs.queue import LeaseLost, Postponed, Running, claim_one, fail, give_up, release
from duely.jobs.registry import known

log = structlog.get_logger("duely.jobs")


class Stopped(SystemExit):
    """SIGTERM arrived while a job ran."""


def execute(running: Running) -> None:
    """Run a job that was taken, and record how it went. Raises nothing but Stopped."""
    told = log.bind(job=running.name, job_id=str(running.id), attempt=running.attempt)
    _close_stale_connections()
    try:
        known()[running.name].run(running, **running.args)
        if not running.finished:
            running.finish()
    except LeaseLost:
        told.warning("another worker has the job by now")
    except Postponed as reason:
        _after_failure(running, told, str(reason), reason.after)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a job does, the next one runs
        told.exception("the job failed")
        _after_failure(running, told, f"{type(error).__name__}: {error}", None)
    finally:
        _close_stale_connections()


def _after_failure(running: Running, told: "structlog.stdlib.BoundLogger", error: str, after: timedelta | None) -> None:
    if running.finished:
        return
    try:
        state = fail(running, error, after=after)
    except LeaseLost:
        told.warning("another worker has the job by now")
    except (DatabaseError, InterfaceError):
        told.warning("the database is out of reach; the job runs again when its lease is over")
    else:
        told.warning("the job did not work", error=error, now=state.value)


def run_one(job_id: UUID, worker: str) -> bool:
    """Take this job if it waits, and run it in this thread. Returns whether it was there to take.

    SIGTERM hands it back at once. After the job's time it counts as a failed attempt: Celery ends late ones like that.
    """
    running = None
    began = time.monotonic()
    _close_stale_connections()
    with _stopped_by_sigterm():
        try:
            running = claim_one(worker, job_id)
            if running is not None:
                with Leases() as leases:
                    leases.hold(running)
                    execute(running)
        except Stopped:
            connection.close()  # it may have been in the middle of a statement
            if running is not None:
                _hand_back(running, seconds=time.monotonic() - began)
            raise
        finally:
            _close_stale_connections()
    return running is not None


def _hand_back(running: Running, *, seconds: float) -> None:
    try:
        if seconds < known()[running.name].timeout_seconds:
            release(running)
        else:
            give_up(running, "It took longer than it may.")
    except LeaseLost:
        return  # it had ended at the last moment
    except (DatabaseError, InterfaceError) as error:
        log.warning("a job keeps its lease", job=running.name, job_id=str(running.id), error=str(error).strip())


def _close_stale_connections() -> None:
    """Drop a connection that has gone bad; within a transaction it is the caller's."""
    if not connection.in_atomic_block:
        close_old_connections()


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Make SIGTERM an exception, in the main thread; others cannot, and are not asked to stop by it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    # A worker that dies takes its threads along one by one, and for each of them the kernel sends the signal again.
    signal.signal(number, signal.SIG_IGN)
    raise Stopped(128 + number)
