"""The queue itself: put in, take out, hand back. A job is a row; whatever dies, the row decides.

Leases and schedules go by the database's clock.
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
STUBBORN_SECONDS = 60.0
RETRY_SECONDS = 0.5
BATCH = 100


class LeaseLost(Exception):
    """The job belongs to another worker by now; what this one would write no longer counts."""


class Postponed(Exception):
    """Raised by a job that cannot do its work now: it is tried again later, without a traceback in the log.

    after: when to try; None for the usual wait.
    """

    def __init__(self, reason: str, *, after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(slots=True)
class Running:
    """A job in the hands of one worker. `now` is the instant it was taken, by the database's clock."""

    id: UUID
    name: str
    args: Ids
    attempt: int
    fence: int
    now: datetime
    finished: bool = False

    def confirm(self) -> None:
        """Make sure that the job is still this worker's, for a whole lease from now. Raises LeaseLost.

        In a transaction it also keeps others from taking the job until that ends.
        """
        if not extend(self):
            raise LeaseLost(self.name)

    def finish(self, write: Callable[[], object] | None = None) -> None:
        """End the job, and run `write` in the same transaction: both stand or neither. Raises LeaseLost.

        While the database is out of reach it tries again, for a minute: the work is done, and forgetting that would
        do it twice.
        """
        _stubbornly(lambda: self._finish(write))
        self.finished = True

    @transaction.atomic
    def _finish(self, write: Callable[[], object] | None) -> None:
        _settle(self, state=State.DONE.value, finished_at=Now(), error="")
        if write:
            write()


def enqueue(job: Definition, *, unique: str | None = None, run_at: datetime | None = None, **ids: Any) -> UUID | None:
    """Queue a job in the caller's transaction: it exists if and only if what asks for it does.

    unique: at most one job of this kind with this key waits at a time; None is returned for one too many. One
    that runs already is another matter: it may have read before the caller wrote.
    run_at: not before then; None for as soon as possible. ids: what the job is called with, as JSON.
    Returns the job's id.
    """
    job_id = new_id()
    key = f"{job.name}:{unique}" if unique is not None else None
    while not _insert(job, [(job_id, key, ids)], run_at):
        if _keep_waiting(key):
            return None
    return job_id


def enqueue_many(job: Definition, many: Sequence[Ids], *, run_at: datetime | None = None) -> None:
    """Queue several jobs of one kind, in the caller's transaction."""
    for start in range(0, len(many), BATCH):
        _insert(job, [(new_id(), None, ids) for ids in many[start : start + BATCH]], run_at)


def _insert(job: Definition, rows: Sequence[tuple[UUID, str | None, Ids]], run_at: datetime | None) -> bool:
    """Whether anything was inserted."""
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
        params += [_prepared("id", job_id), job.name, json.dumps(dict(ids), default=str), key, job.urgent]
        params += [_prepared("run_at", run_at)] if run_at else []
    with connection.cursor() as cursor:
        cursor.execute(insert, params)
        return bool(cursor.rowcount)


def _keep_waiting(key: str | None) -> bool:
    """Whether a job of this key waits, and goes on waiting until the caller's transaction ends.

    Taken sooner it would not see what the caller wrote. On SQLite nobody else writes meanwhile.
    """
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM jobs_job WHERE state = 'waiting' AND key = %s FOR SHARE", [key])
        if cursor.fetchone() is None:
            return False
    _notify()  # a worker that looked in between passed it over
    return True


def _prepared(column: str, value: Any) -> Any:
    field: Any = Job._meta.get_field(column)
    return field.get_db_prep_save(value, connection)


def claim(worker: str, limit: int, *, suspect: bool = False) -> list[Running]:
    """Take up to `limit` jobs that are due, urgent ones first: those that are suspect, or those that are not."""
    if not any(_claimable(urgent, suspect).exists() for urgent in (True, False)):
        return []  # looked at without a lock: an idle worker keeps nobody waiting
    with transaction.atomic():
        found: list[UUID] = []
        for urgent in (True, False):
            rows = _claimable(urgent, suspect).select_for_update(skip_locked=True, of=("self",))
            found += rows.values_list("pk", flat=True)[: limit - len(found)]
        return _take(worker, found)


def _claimable(urgent: bool, suspect: bool) -> Any:
    jobs = due_jobs(urgent=urgent, names=list(known()))
    return jobs.filter(losses__gte=SUSPECT_LOSSES) if suspect else jobs.filter(losses__lt=SUSPECT_LOSSES)


def taken(job_id: UUID, fence: int) -> Running | None:
    """A job that was taken under this number and left to another process of its worker; None when it is lost."""
    row = Job.objects.filter(RUNNING, pk=job_id, fence=fence).first()
    return _running(row, database_now()) if row else None


@transaction.atomic
def claim_one(worker: str, job_id: UUID) -> Running | None:
    """Take this job if it waits; None when someone else has it, or it is done."""
    waiting = Job.objects.filter(WAITING, pk=job_id, name__in=list(known())).select_for_update()
    taken = _take(worker, list(waiting.values_list("pk", flat=True)))
    return taken[0] if taken else None


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
    """Whether it is done, dead, or gone."""
    return not Job.objects.filter(pk=running.id, state__in=[State.WAITING.value, State.RUNNING.value]).exists()


def extend(running: Running) -> bool:
    """Renew the lease; False when it is lost."""
    held = Job.objects.filter(RUNNING, pk=running.id, fence=running.fence)
    return bool(held.update(lease_until=Now() + LEASE))


def remember(running: Running, **values: Any) -> None:
    """Keep JSON values beside those that the job is called with; later attempts are called with them too."""
    Job.objects.filter(pk=running.id, fence=running.fence).update(args={**running.args, **values})


def fail(running: Running, error: str, *, after: timedelta | None = None) -> State:
    """End an attempt that did not work: the job waits for the next one, or is dead after the last.

    after: when to try again; None for a wait that doubles each time. Raises LeaseLost.
    """
    return _stubbornly(lambda: _fail(running, error, after, losses=0))


def give_up(running: Running, error: str) -> State:
    """End an attempt that its worker died of, or would have: from now on the job runs alone. Raises LeaseLost."""
    return _fail(running, error, None, losses=SUSPECT_LOSSES)


@transaction.atomic
def _fail(running: Running, error: str, after: timedelta | None, losses: int) -> State:
    definition = known().get(running.name)
    # PostgreSQL stores neither a NUL nor half a character, and what failed may say anything.
    error = error.replace("\0", "").encode(errors="replace").decode()
    if definition is not None and running.attempt >= definition.attempts:
        _settle(running, state=State.DEAD.value, finished_at=Now(), error=error[:MAX_ERROR])
        return State.DEAD
    wait = retry_after(running.attempt, random.random()) if after is None else after  # noqa: S311
    # Without a wait it keeps its place: it is before those that came after it.
    place = {"run_at": Now() + wait} if wait else {}
    return _put_back(running, **place, error=error[:MAX_ERROR], losses=losses)


def release(running: Running) -> None:
    """Hand a job back that was not finished, as if it had never been taken. Raises LeaseLost."""
    with transaction.atomic():
        _put_back(running, attempts=F("attempts") - 1)


def recover() -> int:
    """Put the jobs of workers that died back into the queue; returns how many."""
    if not expired_jobs().exists():
        return 0
    with transaction.atomic():
        lost = list(expired_jobs().select_for_update(skip_locked=True)[:BATCH])
        now = database_now()
        for row in lost:
            losses = row.losses + 1
            # The lease was wait enough, unless the job itself may be to blame.
            wait = timedelta(0) if losses < SUSPECT_LOSSES else None
            error = f"The worker {row.worker} was not heard of any more."
            state = _fail(_running(row, now), error, wait, losses)
            log.warning("the worker of a job is gone", job=row.name, job_id=str(row.pk), worker=row.worker, now=state)
    return len(lost)


def _put_back(running: Running, **columns: Any) -> State:
    """Let it wait again, unless another one of the same key waits by now and will do the same work."""
    try:
        with transaction.atomic():
            _settle(running, state=State.WAITING.value, handed_at=None, **columns)
    except IntegrityError:
        _settle(running, state=State.DONE.value, finished_at=Now(), error="Another one took its place.")
        return State.DONE
    _notify()
    return State.WAITING


def _settle(running: Running, **columns: Any) -> None:
    held = Job.objects.filter(RUNNING, pk=running.id, fence=running.fence)
    if not held.update(lease_until=None, **columns):
        raise LeaseLost(running.name)


def _notify() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def _stubbornly(act: Callable[[], Result]) -> Result:
    """What `act` returns, tried again while the database is out of reach."""
    end = time.monotonic() + STUBBORN_SECONDS
    while True:
        try:
            return act()
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block or time.monotonic() > end:
                raise
            close_old_connections()
            time.sleep(RETRY_SECONDS)


def revive(*, job_ids: Sequence[UUID] | None = None, name: str | None = None) -> int:
    """Let dead jobs try anew, from the first attempt: these, those of one name, or all. Returns how many."""
    dead = Job.objects.filter(state=State.DEAD.value)
    if job_ids is not None:
        dead = dead.filter(pk__in=job_ids)
    if name is not None:
        dead = dead.filter(name=name)
    with transaction.atomic():
        many = dead.update(
            state=State.WAITING.value, attempts=0, run_at=Now(), handed_at=None, finished_at=None, key=None
        )
        _notify()
    return many


def purge(*, limit: int = 1000) -> int:
    """Remove jobs that were done a day ago, and dead ones after 30 days; returns how many, at most `limit`."""
    old = [
        *_finished(State.DONE, KEEP_DONE)[:limit],
        *_finished(State.DEAD, KEEP_DEAD)[:limit],
    ][:limit]
    return Job.objects.filter(pk__in=old).delete()[0] if old else 0


def purge_dead() -> int:
    """Remove every dead job; returns how many."""
    return Job.objects.filter(state=State.DEAD.value).delete()[0]


def _finished(state: State, age: timedelta) -> Any:
    return Job.objects.filter(state=state.value, finished_at__lt=Now() - age).values_list("pk", flat=True)


def tick() -> timedelta:
    """Queue each job whose time has come by the clock; returns the time until the next.

    Any number of processes may call it: a schedule's row is moved on by compare-and-set, in one transaction with the
    job. After a stop of any length a job runs once, not once for each time that was missed.
    """
    schedules = {name: definition for name, definition in known().items() if definition.every}
    rows = dict(Schedule.objects.values_list("name", "next_at"))
    # Asked for after the rows: otherwise one that was moved on in between would seem to be too far away.
    now = database_now()
    _add_missing(schedules, rows, now)
    for name, next_at in rows.items():
        definition = schedules.get(name)
        if definition is None or definition.every is None:
            continue
        if next_at <= now or next_at > now + definition.every:  # the latter: it runs more often since an upgrade
            rows[name] = _move_on(definition, definition.every, next_at, now)
    waits = [next_at - now for name, next_at in rows.items() if name in schedules]
    return min(waits) if waits else timedelta(days=1)


def _add_missing(schedules: Mapping[str, Definition], rows: dict[str, datetime], now: datetime) -> None:
    for name in schedules.keys() - rows.keys():
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO jobs_schedule (name, next_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [name, _prepared("run_at", now)],
            )
        rows[name] = now


def _move_on(definition: Definition, every: timedelta, seen: datetime, now: datetime) -> datetime:
    due = seen <= now
    following = next_run(seen, every, now) if due else now + every
    with transaction.atomic():
        if Schedule.objects.filter(name=definition.name, next_at=seen).update(next_at=following) and due:
            enqueue(definition, unique="clock")
    return following
