"""Jobs on Celery's workers. The row in the database stays the truth: a message only says that a job may be due.

`celery -A duely beat` queues what the clock says, hands the ids of jobs that are due to the broker, and recovers jobs
whose worker died. `celery -A duely worker` takes the job by its row before it runs it, so a message that is lost or
comes twice does no harm. Several beats may run.
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
MOST_MESSAGES = 500
"""How many messages the broker holds at most: without workers it would fill up."""
HAND_AGAIN = timedelta(seconds=60)
"""When a job that nobody took since its message went out gets another one."""
LONGEST_PAUSE_SECONDS = 5.0
AFTER_FAULT_SECONDS = 1.0
SOFT_SHUTDOWN_SECONDS = 20

if not settings.CELERY_BROKER_URL:
    raise ImproperlyConfigured("CELERY_BROKER_URL: is needed to run jobs on Celery; without it use: duely worker")

app = Celery("duely", broker=settings.CELERY_BROKER_URL)
app.conf.update(
    task_default_queue=QUEUE,
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
    """Celery sets up none of its own: Django has them already."""


@signals.worker_init.connect
def _load_jobs(**options: Any) -> None:
    """Once, before processes are forked: each would need a second for it."""
    known()


@app.task(name="duely.run")
def run(job_id: str) -> None:
    """Run one job, unless someone else has."""
    run_one(UUID(job_id), f"celery@{name()}:{threading.get_ident() % 10_000}")


def _broker_errors(broker: Any) -> tuple[type[BaseException], ...]:
    return (KombuError, OSError, *broker.connection_errors, *broker.channel_errors)


def broker_fault() -> str | None:
    """Why the broker cannot be used; None when it answers."""
    broker = app.connection_for_write()
    try:
        broker.ensure_connection(max_retries=1, timeout=2, reraise_as_library_errors=False)
    except _broker_errors(broker) as error:
        return f"The broker does not answer: {type(error).__name__}."
    finally:
        broker.release()
    return None


class Relay(Scheduler):
    """In the place of beat's own scheduler; keeps no file."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._wakeup = Wakeup()
        self._connection: Any = None
        self._next_tick = 0.0
        self._broker_errors = _broker_errors(app.connection_for_write())
        super().__init__(*arguments, **options)

    def setup_schedule(self) -> None:
        """The rows hold it."""

    def tick(self, *arguments: Any, **options: Any) -> float:
        """One round; returns how many seconds to wait before the next."""
        try:
            now = time.monotonic()
            if now >= self._next_tick:
                self._next_tick = now + max(tick().total_seconds(), 0.0)
            recover()
            following = time_to_next(list(known()))
            self._hand_over()
            waits = [LONGEST_PAUSE_SECONDS, self._next_tick - now]
            self._wakeup.wait(max(min([*waits, following.total_seconds()] if following else waits), 0.0))
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

    def _hand_over(self) -> None:
        """Give the broker the ids of jobs that are due, as many as it has room for.

        The rows are marked first: no transaction is open while the broker makes us wait. A message that was not sent
        after all goes out next time, or after HAND_AGAIN when this process dies.
        """
        if not any(_unhanded(urgent).exists() for urgent in (True, False)):
            return
        if self._connection is None:
            self._connection = self.app.connection_for_write(heartbeat=0)
        room = MOST_MESSAGES - self._messages()
        for urgent in (True, False):
            if room > 0:
                room -= self._hand(urgent, room)

    def _hand(self, urgent: bool, room: int) -> int:
        rows = _mark(urgent, room)
        for position, row in enumerate(rows):
            limit = known()[row.name].timeout_seconds + START_SECONDS
            try:
                app.send_task(run.name, (str(row.pk),), time_limit=limit, retry=False, connection=self._connection)
            except self._broker_errors:
                unsent = [row.pk for row in rows[position:]]
                Job.objects.filter(WAITING, pk__in=unsent).update(handed_at=None)
                raise
        return len(rows)

    def _messages(self) -> int:
        queue: Any = self.app.amqp.queues[QUEUE](self._connection.default_channel)
        queue.declare()  # each time: a broker that lost everything knows no queue either
        return int(queue.queue_declare().message_count)


@transaction.atomic
def _mark(urgent: bool, room: int) -> list[Job]:
    rows = list(_unhanded(urgent).select_for_update(skip_locked=True, of=("self",))[:room])
    Job.objects.filter(pk__in=[row.pk for row in rows]).update(handed_at=Now())
    return rows


def _unhanded(urgent: bool) -> Any:
    untold = Q(handed_at__isnull=True) | Q(handed_at__lt=Now() - HAND_AGAIN)
    return due_jobs(urgent=urgent, names=list(known())).filter(untold)
