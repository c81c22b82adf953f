"""Runs jobs on Celery workers. A message only says that a job may be due; the row decides (decision 0008).

`celery -A duely beat` queues scheduled jobs, sends the ids of due jobs to the broker and recovers jobs of lost workers.
`celery -A duely worker` takes the row before it runs the job, so lost and duplicate messages do no harm. Several beats
may run.
"""

import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, signals
from celery.beat import Scheduler
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, close_old_connections, transaction
from django.db.models import Q
from django.db.models.functions import Now
from kombu.exceptions import KombuError

from duely.jobs.models import WAITING, Job
from duely.jobs.queries import due_jobs, time_to_next
from duely.jobs.queue import recover, tick
from duely.jobs.registry import known
from duely.jobs.runner import run_one
from duely.jobs.wakeup import Wakeup
from duely.jobs.worker import START_SECONDS, name

log = structlog.get_logger("duely.relay")

QUEUE = "duely"
MAX_MESSAGES = 500
"""The most messages in the broker. Without a limit it would fill up while no worker runs."""
RESEND_AFTER = timedelta(seconds=60)
"""When a message is sent again for a job that no worker has taken."""
LONGEST_PAUSE_SECONDS = 5.0
AFTER_FAULT_SECONDS = 1.0
SOFT_SHUTDOWN_SECONDS = 20

if not settings.CELERY_BROKER_URL:
    raise ImproperlyConfigured("CELERY_BROKER_URL: is needed to run jobs on Celery; without it use: duely worker")

app = Celery("duely", broker=settings.CELERY_BROKER_URL)
app.conf.update(
    task_default_queue=QUEUE,
    # A worker that dies before it has taken the row leaves the message to another one.
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_soft_shutdown_timeout=SOFT_SHUTDOWN_SECONDS,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 10},
    beat_scheduler="duely.jobs.celery:Relay",
)


@signals.setup_logging.connect
def _keep_our_logs(**options: Any) -> None:
    """Keep Celery from configuring logging: Django has done it. Celery does not when this signal has a receiver."""


@signals.worker_init.connect
def _load_jobs(**options: Any) -> None:
    """Import the jobs before the fork, which takes a second that each process would need otherwise."""
    known()


@app.task(name="duely.run")
def run(job_id: str) -> None:
    """Run one job, unless another worker has taken it."""
    run_one(UUID(job_id), f"celery@{name()}:{threading.get_ident() % 10_000}")


def _broker_errors(broker: Any) -> tuple[type[BaseException], ...]:
    return (KombuError, OSError, *broker.connection_errors, *broker.channel_errors)


def broker_fault() -> str | None:
    """Why the broker cannot be used, or None if it answers."""
    broker = app.connection_for_write()
    try:
        broker.ensure_connection(max_retries=1, timeout=2, reraise_as_library_errors=False)
    except _broker_errors(broker) as error:
        return f"The broker does not answer: {type(error).__name__}."
    finally:
        broker.release()
    return None


class Relay(Scheduler):
    """A replacement for beat's own scheduler that keeps no file."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._wakeup = Wakeup()
        self._connection: Any = None
        self._next_tick = 0.0
        self._broker_errors = _broker_errors(app.connection_for_write())
        super().__init__(*arguments, **options)

    def setup_schedule(self) -> None:
        """Do nothing: the schedule is in the database."""

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Queue, recover and send jobs once. Returns the seconds to wait before the next call."""
        try:
            now = time.monotonic()
            if now >= self._next_tick:
                self._next_tick = now + max(tick().total_seconds(), 0.0)
            recover()
            # Read before the jobs are sent, so that a job that becomes due in between ends the wait.
            time_to_next_job = time_to_next(list(known()))
            self._send_due_jobs()
            waits = [LONGEST_PAUSE_SECONDS, self._next_tick - now]
            if time_to_next_job:
                waits.append(time_to_next_job.total_seconds())
            self._wakeup.wait(max(min(waits), 0.0))
        except (DatabaseError, InterfaceError) as error:
            log.warning("the database is out of reach", error=str(error).strip())
            return AFTER_FAULT_SECONDS
        except self._broker_errors as error:
            log.warning("the broker is out of reach", error=str(error).strip())
            self._disconnect()
            return AFTER_FAULT_SECONDS
        finally:
            close_old_connections()
        return 0.0

    def _disconnect(self) -> None:
        broken, self._connection = self._connection, None
        if broken is not None:
            with suppress(*self._broker_errors):
                broken.release()

    def _send_due_jobs(self) -> None:
        """Send the ids of due jobs to the broker, up to MAX_MESSAGES.

        The rows are marked first, so that no transaction is open while the broker is slow. An id that could not be sent
        is sent the next time, or after RESEND_AFTER if this process dies.
        """
        if not any(_jobs_to_send(urgent).exists() for urgent in (True, False)):
            return
        if self._connection is None:
            self._connection = self.app.connection_for_write(heartbeat=0)
        room = MAX_MESSAGES - self._message_count()
        for urgent in (True, False):
            if room > 0:
                room -= self._send(urgent, room)

    def _send(self, urgent: bool, limit: int) -> int:
        rows = _mark_as_sent(urgent, limit)
        for position, row in enumerate(rows):
            seconds = known()[row.name].timeout_seconds + START_SECONDS
            try:
                app.send_task(run.name, (str(row.pk),), time_limit=seconds, retry=False, connection=self._connection)
            except self._broker_errors:
                unsent = [row.pk for row in rows[position:]]
                Job.objects.filter(WAITING, pk__in=unsent).update(handed_at=None)
                raise
        return len(rows)

    def _message_count(self) -> int:
        queue: Any = self.app.amqp.queues[QUEUE](self._connection.default_channel)
        queue.declare()  # each time, because a broker that lost its data has lost the queue too
        return int(queue.queue_declare().message_count)


@transaction.atomic
def _mark_as_sent(urgent: bool, limit: int) -> list[Job]:
    rows = list(_jobs_to_send(urgent).select_for_update(skip_locked=True, of=("self",))[:limit])
    Job.objects.filter(pk__in=[row.pk for row in rows]).update(handed_at=Now())
    return rows


def _jobs_to_send(urgent: bool) -> Any:
    not_sent_lately = Q(handed_at__isnull=True) | Q(handed_at__lt=Now() - RESEND_AFTER)
    return due_jobs(urgent=urgent, names=list(known())).filter(not_sent_lately)
