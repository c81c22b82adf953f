"""`duely worker` and `duely scheduler`."""

import queue as queues
import signal
import time
from uuid import UUID

import structlog

from duely.cli.exits import Exit, Failure
from duely.cli.keys import refuse_other_key
from duely.cli.lifeline import end_with_parent
from duely.cli.serve import duely_command

log = structlog.get_logger("duely.scheduler")

LONGEST_PAUSE_SECONDS = 30.0
AFTER_FAULT_SECONDS = 1.0


def worker(*, with_schedules: bool) -> None:
    """Run jobs until SIGTERM or SIGINT. Raises Failure if a job exceeded its timeout."""
    from django.conf import settings

    _setup()
    from duely.jobs.worker import Worker

    isolated_command = [*duely_command(), "worker", "--job"]
    worker_process = Worker(
        threads=settings.WORKER_THREADS, isolated_command=isolated_command, with_schedules=with_schedules
    )
    if not worker_process.run():
        raise Failure("A job took longer than it may; the worker ends to get rid of it. Start it again.")


def one_job(which: str) -> None:
    """Run one job in this process. The worker that took it renews its lease, and survives if the job kills its process.

    which: the job's id, its fencing number and the worker's process id, separated by colons.
    """
    job_id, fence, worker = which.split(":")
    end_with_parent(int(worker))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the worker decides when this process ends
    import django

    django.setup()
    from duely.jobs.queue import running_job
    from duely.jobs.runner import execute

    running = running_job(UUID(job_id), int(fence))
    if running:
        execute(running)


def scheduler() -> None:
    """Queue scheduled jobs and recover lost ones until SIGTERM or SIGINT."""
    _setup()
    from django.conf import settings
    from django.db import DatabaseError, InterfaceError, close_old_connections

    from duely.core.heartbeat import BEAT_SECONDS, Heart
    from duely.jobs.queue import recover, tick

    # A signal handler may write to a SimpleQueue; a threading.Event could be locked at that moment.
    stop: queues.SimpleQueue[None] = queues.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.put(None))
    log.info("scheduler started")
    heart = Heart(settings.DATA_DIR, "scheduler")
    due_at = 0.0
    while not _is_stopped_within(stop, max(min(due_at - time.monotonic(), BEAT_SECONDS), 0.0)):
        if not heart.beat():
            log.warning("duely health will not see this scheduler", fault=heart.fault)
        if time.monotonic() < due_at:
            continue
        try:
            pause = min(max(tick().total_seconds(), 0.0), LONGEST_PAUSE_SECONDS)
            recover()
        except (DatabaseError, InterfaceError) as error:
            log.warning("the database is out of reach", error=str(error).strip())
            pause = AFTER_FAULT_SECONDS
        due_at = time.monotonic() + pause
        close_old_connections()


def _is_stopped_within(stop: "queues.SimpleQueue[None]", seconds: float) -> bool:
    try:
        stop.get(timeout=seconds)
    except queues.Empty:
        return False
    return True


def _setup() -> None:
    import django

    from duely.cli.pooler import refuse_pooler

    django.setup()
    refuse_pooler()
    refuse_old_database()


def refuse_old_database() -> None:
    """Raise Failure if migrations are missing, because jobs would fail on missing columns."""
    from django.db import connection

    from duely.api.health import pending_migrations

    if pending_migrations():
        raise Failure("The database is not up to date. Run: duely migrate", Exit.DATABASE)
    refuse_other_key()
    connection.close()
