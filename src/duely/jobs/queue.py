"""The durable queue: enqueue, claim, end and recover jobs; queue scheduled jobs (decision 0008).

A job is a row, and the row decides which worker owns it. Leases and schedules use the database's clock.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections, connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from duely.core.ids import new_id
from duely.jobs.models import RUNNING, WAITING, Job, Schedule
from duely.jobs.queries import database_now, due_jobs, expired_jobs
from duely.jobs.registry import Definition, Ids, known
from duely.jobs.rules import LEASE, SUSPECT_LOSSES, State, next_run, retry_after

log = structlog.get_logger("duely.jobs")

Result = TypeVar("Result")
CHANNEL = "duely_jobs"
MAX_ERROR = 1000
KEEP_DONE = timedelta(days=1)
KEEP_DEAD = timedelta(days=30)
RETRY_FOR_SECONDS = 60.0
"""How long the end of a job is tried again while the database is away."""
RETRY_SECONDS = 0.5
BATCH = 100


class LeaseLost(Exception):
    """This worker no longer owns the job, so its writes are rejected."""


class Postponed(Exception):
    """Raised by a job that cannot work now. It is tried again later, without a traceback in the log.

    after: the wait until then; None for the usual wait.
    """

    def __init__(self, reason: str, *, after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(slots=True)
class Running:
    """A job that a worker has taken. `now`: when it was taken, by the database's clock."""

    id: UUID
    name: str
    args: Ids
    attempt: int
    fence: int
    now: datetime
    finished: bool = False

    def confirm(self) -> None:
        """Renew the lease. Raises LeaseLost if another worker owns the job.

        In a transaction this also locks the row, so that no worker can take the job before the transaction ends.
        """
        if not extend(self):
            raise LeaseLost(self.name)

    def finish(self, write: Callable[[], object] | None = None) -> None:
        """End the job and run `write` in one transaction. Raises LeaseLost.

        Tries again for a minute while the database is away. The work may be irreversible, such as a sent mail, and
        without its end on record it would be done twice.
        """
        _with_retries(lambda: self._finish(write))
        self.finished = True

    @transaction.atomic
    def _finish(self, write: Callable[[], object] | None) -> None:
        _end_attempt(self, state=State.DONE.value, finished_at=Now(), error="")
        if write:
            write()


def enqueue(job: Definition, *, unique: str | None = None, run_at: datetime | None = None, **ids: Any) -> UUID | None:
    """Queue a job in the caller's transaction, and return its id. If the transaction is rolled back, so is the job.

    unique: at most one job of this kind with this key waits at a time. Returns None if one waits already. A running job
    does not count, because it may have read before the caller wrote.
    run_at: the earliest time; None for as soon as possible. ids: the arguments of the job, as JSON.
    """
    job_id = new_id()
    key = f"{job.name}:{unique}" if unique is not None else None
    while not _insert(job, [(job_id, key, ids)], run_at):
        if _keep_waiting(key):
            return None
    return job_id


def enqueue_many(job: Definition, arguments: Sequence[Ids], *, run_at: datetime | None = None) -> None:
    """Queue several jobs of one kind in the caller's transaction. arguments: one mapping of ids for each job."""
    for start in range(0, len(arguments), BATCH):
        _insert(job, [(new_id(), None, ids) for ids in arguments[start : start + BATCH]], run_at)


def _insert(job: Definition, rows: Sequence[tuple[UUID, str | None, Ids]], run_at: datetime | None) -> bool:
    """Insert jobs and notify the workers, in one statement. Returns whether any row was inserted."""
    now = "clock_timestamp()" if connection.vendor == "postgresql" else "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    values = (
        f"(%s, %s, %s, %s, 'waiting', %s, {'%s' if run_at else now}, 0, 0, 0, '', NULL, NULL, {now}, NULL, NULL, '')"
    )
    insert = (
        "INSERT INTO jobs_job (id, name, args, key, state, urgent, run_at, attempts, fence, losses, worker,"  # noqa: S608
        " lease_until, handed_at, created_at, started_at, finished_at, error)"
        f" VALUES {', '.join([values] * len(rows))} ON CONFLICT DO NOTHING"
    )
    if connection.vendor == "postgresql":
        insert = f"WITH added AS ({insert} RETURNING 1) SELECT pg_notify('{CHANNEL}', '') FROM added LIMIT 1"  # noqa: S608
    params: list[Any] = []
    for job_id, key, ids in rows:
        params += [_database_value("id", job_id), job.name, json.dumps(dict(ids), default=str), key, job.urgent]
        if run_at:
            params.append(_database_value("run_at", run_at))
    with connection.cursor() as cursor:
        cursor.execute(insert, params)
        return bool(cursor.rowcount)


def _keep_waiting(key: str | None) -> bool:
    """Lock the waiting job of this key until the caller's transaction ends. Returns whether there is one.

    A worker that took the job before the commit would not see the caller's writes. SQLite needs no lock: until the
    transaction ends no other connection can write.
    """
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM jobs_job WHERE state = 'waiting' AND key = %s FOR SHARE", [key])
        if cursor.fetchone() is None:
            return False
    _notify()  # a worker that looked for jobs during the lock has skipped this one
    return True


def _database_value(column: str, value: Any) -> Any:
    field: Any = Job._meta.get_field(column)
    return field.get_db_prep_save(value, connection)


def claim(worker: str, limit: int, *, suspect: bool = False) -> list[Running]:
    """Take up to `limit` due jobs, urgent ones first: either the suspect jobs or the others."""
    # Read without a transaction, so that an idle worker does not lock out writers on SQLite.
    if not any(_claimable(urgent, suspect).exists() for urgent in (True, False)):
        return []
    with transaction.atomic():
        job_ids: list[UUID] = []
        for urgent in (True, False):
            rows = _claimable(urgent, suspect).select_for_update(skip_locked=True, of=("self",))
            job_ids += rows.values_list("pk", flat=True)[: limit - len(job_ids)]
        return _take(worker, job_ids)


def _claimable(urgent: bool, suspect: bool) -> Any:
    jobs = due_jobs(urgent=urgent, names=list(known()))
    return jobs.filter(losses__gte=SUSPECT_LOSSES) if suspect else jobs.filter(losses__lt=SUSPECT_LOSSES)


def running_job(job_id: UUID, fence: int) -> Running | None:
    """A job that a worker took with this fencing number and runs in another process; None if the lease is lost."""
    row = Job.objects.filter(RUNNING, pk=job_id, fence=fence).first()
    return _running(row, database_now()) if row else None


@transaction.atomic
def claim_one(worker: str, job_id: UUID) -> Running | None:
    """Take this job if it waits; None if it is running, has ended or has an unknown name."""
    waiting = Job.objects.filter(WAITING, pk=job_id, name__in=list(known())).select_for_update()
    running_jobs = _take(worker, list(waiting.values_list("pk", flat=True)))
    return running_jobs[0] if running_jobs else None


def _take(worker: str, ids: list[UUID]) -> list[Running]:
    if not ids:
        return []
    Job.objects.filter(pk__in=ids).update(
        state=State.RUNNING.value,
        attempts=F("attempts") + 1,
        fence=F("fence") + 1,
        worker=worker[:100],
        started_at=Now(),
        lease_until=Now() + LEASE,
    )
    now = database_now()
    rows = {row.pk: row for row in Job.objects.filter(pk__in=ids)}
    return [_running(rows[job_id], now) for job_id in ids]


def _running(row: Job, now: datetime) -> Running:
    return Running(id=row.pk, name=row.name, args=row.args, attempt=row.attempts, fence=row.fence, now=now)


def has_ended(running: Running) -> bool:
    """Whether the job is done, dead or deleted."""
    return not Job.objects.filter(pk=running.id, state__in=[State.WAITING.value, State.RUNNING.value]).exists()


def extend(running: Running) -> bool:
    """Renew the lease. Returns False if it is lost."""
    owned = Job.objects.filter(RUNNING, pk=running.id, fence=running.fence)
    return bool(owned.update(lease_until=Now() + LEASE))


def remember(running: Running, **values: Any) -> None:
    """Add JSON values to the arguments of the job. Later attempts get them too."""
    Job.objects.filter(pk=running.id, fence=running.fence).update(args={**running.args, **values})


def fail(running: Running, error: str, *, after: timedelta | None = None) -> State:
    """End a failed attempt. The job waits for the next attempt, or is dead after the last one.

    after: the wait; None for one that doubles each time. Raises LeaseLost.
    """
    return _with_retries(lambda: _fail(running, error, after, losses=0))


def give_up(running: Running, error: str) -> State:
    """End an attempt that killed its worker or exceeded its timeout. From now on the job runs in a process of its own.

    Raises LeaseLost.
    """
    return _fail(running, error, None, losses=SUSPECT_LOSSES)


@transaction.atomic
def _fail(running: Running, error: str, after: timedelta | None, losses: int) -> State:
    definition = known().get(running.name)
    # PostgreSQL stores neither NUL nor lone surrogates, which the message of an exception may contain.
    error = error.replace("\0", "").encode(errors="replace").decode()
    if definition is not None and running.attempt >= definition.attempts:
        _end_attempt(running, state=State.DEAD.value, finished_at=Now(), error=error[:MAX_ERROR])
        return State.DEAD
    wait = retry_after(running.attempt, random.random()) if after is None else after  # noqa: S311
    # Without a wait `run_at` stays, so that the job keeps its place before newer ones.
    columns = {"run_at": Now() + wait} if wait else {}
    return _put_back(running, **columns, error=error[:MAX_ERROR], losses=losses)


def release(running: Running) -> None:
    """Put an unfinished job back without counting the attempt. Raises LeaseLost."""
    with transaction.atomic():
        _put_back(running, attempts=F("attempts") - 1)


def recover() -> int:
    """Put the jobs of lost workers back into the queue, at most BATCH. Returns their number."""
    if not expired_jobs().exists():
        return 0
    with transaction.atomic():
        lost_jobs = list(expired_jobs().select_for_update(skip_locked=True)[:BATCH])
        now = database_now()
        for row in lost_jobs:
            losses = row.losses + 1
            # The job has already waited for the end of the lease. It waits longer only if it may be the cause.
            wait = timedelta(0) if losses < SUSPECT_LOSSES else None
            error = f"The worker {row.worker} was not heard of any more."
            state = _fail(_running(row, now), error, wait, losses)
            log.warning("the worker of a job is gone", job=row.name, job_id=str(row.pk), worker=row.worker, now=state)
    return len(lost_jobs)


def _put_back(running: Running, **columns: Any) -> State:
    """Make a running job wait again. It is done instead if another job of its key waits, which does the same work."""
    try:
        with transaction.atomic():
            _end_attempt(running, state=State.WAITING.value, handed_at=None, **columns)
    except IntegrityError:
        _end_attempt(running, state=State.DONE.value, finished_at=Now(), error="Another one took its place.")
        return State.DONE
    _notify()
    return State.WAITING


def _end_attempt(running: Running, **columns: Any) -> None:
    """Write the outcome of an attempt and end its lease, if the fencing number is still current. Raises LeaseLost."""
    owned = Job.objects.filter(RUNNING, pk=running.id, fence=running.fence)
    if not owned.update(lease_until=None, **columns):
        raise LeaseLost(running.name)


def _notify() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def _with_retries(act: Callable[[], Result]) -> Result:
    """Call `act` until the database answers, for at most RETRY_FOR_SECONDS. Returns its result."""
    deadline = time.monotonic() + RETRY_FOR_SECONDS
    while True:
        try:
            return act()
        except (OperationalError, InterfaceError):
            # Within a transaction nothing can be repeated: its earlier statements are lost.
            if connection.in_atomic_block or time.monotonic() > deadline:
                raise
            close_old_connections()
            time.sleep(RETRY_SECONDS)


def revive(*, job_ids: Sequence[UUID] | None = None, name: str | None = None) -> int:
    """Queue dead jobs again with all their attempts: by ids, by name, or all. Returns their number."""
    dead = Job.objects.filter(state=State.DEAD.value)
    if job_ids is not None:
        dead = dead.filter(pk__in=job_ids)
    if name is not None:
        dead = dead.filter(name=name)
    with transaction.atomic():
        # Without their keys, since of two jobs with the same key only one can wait.
        count = dead.update(
            state=State.WAITING.value, attempts=0, run_at=Now(), handed_at=None, finished_at=None, key=None
        )
        _notify()
    return count


def purge(*, limit: int = 1000) -> int:
    """Delete at most `limit` jobs: done ones after a day, dead ones after 30 days. Returns their number."""
    old_ids = [
        *_finished(State.DONE, KEEP_DONE)[:limit],
        *_finished(State.DEAD, KEEP_DEAD)[:limit],
    ][:limit]
    return Job.objects.filter(pk__in=old_ids).delete()[0] if old_ids else 0


def purge_dead() -> int:
    """Delete all dead jobs. Returns their number."""
    return Job.objects.filter(state=State.DEAD.value).delete()[0]


def _finished(state: State, age: timedelta) -> Any:
    return Job.objects.filter(state=state.value, finished_at__lt=Now() - age).values_list("pk", flat=True)


def tick() -> timedelta:
    """Queue the scheduled jobs that are due. Returns the time until the next one.

    Several processes may call it: the row of a schedule is updated by compare-and-set, in one transaction with the job.
    After a pause of any length a job runs once, not once for each missed time.
    """
    schedules = {name: definition for name, definition in known().items() if definition.every}
    rows = dict(Schedule.objects.values_list("name", "next_at"))
    # Read after the rows: a schedule that another process updates in between would seem too far in the future.
    now = database_now()
    _add_missing(schedules, rows, now)
    for name, next_at in rows.items():
        definition = schedules.get(name)
        if definition is None or definition.every is None:
            continue
        # A time too far in the future: an upgrade has shortened the interval.
        if next_at <= now or next_at > now + definition.every:
            rows[name] = _advance(definition, definition.every, next_at, now)
    waits = [next_at - now for name, next_at in rows.items() if name in schedules]
    return min(waits) if waits else timedelta(days=1)


def _add_missing(schedules: Mapping[str, Definition], rows: dict[str, datetime], now: datetime) -> None:
    for name in schedules.keys() - rows.keys():
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO jobs_schedule (name, next_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [name, _database_value("run_at", now)],
            )
        rows[name] = now


def _advance(definition: Definition, every: timedelta, planned_at: datetime, now: datetime) -> datetime:
    """Set the next time of a schedule, and queue its job if it was due. Returns the next time."""
    is_due = planned_at <= now
    next_at = next_run(planned_at, every, now) if is_due else now + every
    with transaction.atomic():
        # Compare-and-set: only one of several processes updates the row, and queues the job.
        is_updated = Schedule.objects.filter(name=definition.name, next_at=planned_at).update(next_at=next_at)
        if is_updated and is_due:
            enqueue(definition, unique="clock")
    return next_at
