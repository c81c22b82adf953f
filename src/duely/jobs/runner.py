"""Runs one job and records its outcome."""

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
    """Run a job that was taken, and record its outcome. Raises nothing but Stopped."""
    job_log = log.bind(job=running.name, job_id=str(running.id), attempt=running.attempt)
    _close_stale_connections()
    try:
        known()[running.name].run(running, **running.args)
        if not running.finished:
            running.finish()
    except LeaseLost:
        job_log.warning("another worker has the job by now")
    except Postponed as reason:
        _record_failure(running, job_log, str(reason), reason.after)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the fault of one job must not stop the worker
        job_log.exception("the job failed")
        _record_failure(running, job_log, f"{type(error).__name__}: {error}", None)
    finally:
        _close_stale_connections()


def _record_failure(
    running: Running, job_log: "structlog.stdlib.BoundLogger", error: str, after: timedelta | None
) -> None:
    # What fails after `running.finish` does not undo the job: its end is committed.
    if running.finished:
        return
    try:
        state = fail(running, error, after=after)
    except LeaseLost:
        job_log.warning("another worker has the job by now")
    except (DatabaseError, InterfaceError):
        job_log.warning("the database is out of reach; the job runs again when its lease is over")
    else:
        job_log.warning("the job did not work", error=error, now=state.value)


def run_one(job_id: UUID, worker: str) -> bool:
    """Take a job if it waits, and run it in this thread. Returns whether it could be taken.

    SIGTERM within the job's timeout hands the job back at once. Later it counts as a failed attempt, because Celery
    ends jobs that exceed their timeout with SIGTERM.
    """
    running = None
    started_at = time.monotonic()
    _close_stale_connections()
    with _stopped_by_sigterm():
        try:
            running = claim_one(worker, job_id)
            if running is not None:
                with Leases() as leases:
                    leases.hold(running)
                    execute(running)
        except Stopped:
            connection.close()  # a statement may have been interrupted
            if running is not None:
                _hand_back(running, seconds=time.monotonic() - started_at)
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
        return  # the job had finished just before the signal
    except (DatabaseError, InterfaceError) as error:
        log.warning("a job keeps its lease", job=running.name, job_id=str(running.id), error=str(error).strip())


def _close_stale_connections() -> None:
    """Close a broken connection, except within a transaction, which belongs to the caller."""
    if not connection.in_atomic_block:
        close_old_connections()


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception in the main thread. Python runs signal handlers in no other thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    # When the parent worker dies, the kernel sends the signal again for each of its threads.
    signal.signal(number, signal.SIG_IGN)
    raise Stopped(128 + number)
