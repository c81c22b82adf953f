"""Workers, writers and schedulers at once, with real connections and commits."""

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F

from duely.jobs import queue, registry
from duely.jobs.models import Job, Schedule
from duely.jobs.queries import database_now
from duely.jobs.queue import Running, claim, claim_one, enqueue, enqueue_many, tick
from duely.jobs.registry import Definition
from duely.jobs.rules import State
from duely.jobs.runner import execute
from jobs.helpers import elsewhere, expire, row, take
from races import together

Define = Callable[..., Definition]
MINUTE = timedelta(minutes=1)


def wrote(name: str) -> Callable[[], object]:
    """An effect of a job that can be counted."""
    return lambda: Schedule.objects.bulk_create([Schedule(name=name, next_at=database_now())])


def turn_back(by: timedelta) -> None:
    """As if that much time had passed."""
    Schedule.objects.update(next_at=F("next_at") - by)


def run_all() -> int:
    """Finish what is due; how many that were."""
    running = claim("test:1", 100)
    for job in running:
        job.finish()
    return len(running)


@pytest.mark.parametrize("how", ["many", "one"])
def test_concurrent_workers_take_each_job_once(committed_db: None, define: Define, how: str) -> None:
    enqueue_many(define(), [{"number": number} for number in range(40)])
    ids = list(Job.objects.values_list("pk", flat=True))

    def work() -> list[Any]:
        found: list[Any] = []
        if how == "one":
            return [running.id for running in (claim_one("test:1", job_id) for job_id in ids) if running]
        while running := claim("test:1", 3):
            found += [job.id for job in running]
        return found

    found = together(*[work] * 4)
    assert sorted(itertools.chain(*found)) == sorted(ids)
    assert set(Job.objects.values_list("attempts", "fence")) == {(1, 1)}


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="on SQLite one transaction at a time writes")
def test_rows_locked_by_another_worker_are_skipped(committed_db: None, define: Define) -> None:
    first, second = enqueue(define()), enqueue(registry.known()["test.job"])
    with transaction.atomic():
        assert [running.id for running in claim("test:1", 1)] == [first]
        assert [running.id for running in elsewhere(lambda: claim("test:2", 5))] == [second]


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="on SQLite one transaction at a time writes")
def test_a_job_is_not_taken_before_its_second_enqueuer_commits(committed_db: None, define: Define) -> None:
    job = define()
    job_id = enqueue(job, unique="a")
    with transaction.atomic():
        assert enqueue(job, unique="a") is None
        assert elsewhere(lambda: claim("test:1", 5)) == []
        # Others may rely on it at the same time.
        assert elsewhere(lambda: enqueue(job, unique="a")) is None
    assert [running.id for running in elsewhere(lambda: claim("test:1", 5))] == [job_id]


def test_keys_stay_unique_under_concurrency(committed_db: None, define: Define) -> None:
    """Whatever a writer wrote before it queued, some job that was taken later sees."""
    job = define()
    unseen: list[int] = []
    over = threading.Event()

    def write() -> None:
        for number in range(15):
            with transaction.atomic():
                Schedule.objects.bulk_create(
                    [Schedule(name=f"{threading.get_ident()}.{number}", next_at=database_now())]
                )
                enqueue(job, unique="a")

    def look() -> list[str]:
        seen: list[str] = []
        while not over.is_set() or Job.objects.filter(state="waiting").exists():
            for running in claim("test:1", 5):
                seen = list(Schedule.objects.values_list("name", flat=True))
                running.finish()
        return seen

    def write_all() -> None:
        together(write, write)
        over.set()

    _, seen = together(write_all, look)
    assert len(seen) == 30, unseen


def test_a_job_is_not_taken_while_its_worker_writes(committed_db: None, define: Define) -> None:
    enqueue(define())
    running = take()
    expire(running)
    if connection.vendor == "sqlite":
        with transaction.atomic():
            running.confirm()
        assert elsewhere(queue.recover) == 0
        return
    with transaction.atomic():
        running.confirm()
        assert elsewhere(queue.recover) == 0


def test_concurrent_recovery_counts_once(committed_db: None, define: Define) -> None:
    enqueue_many(define(), [{"number": number} for number in range(10)])
    for running in claim("test:1", 10):
        expire(running)
    assert sum(together(*[queue.recover] * 3)) == 10
    assert set(Job.objects.values_list("state", "attempts")) == {("waiting", 1)}


def test_the_end_of_a_job_outlives_an_outage(
    committed_db: None, define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away for the first tries: a wrapper around every statement refuses them, as a server would."""
    monkeypatch.setattr(queue, "RETRY_SECONDS", 0.01)
    enqueue(define())
    running = take()
    tries = itertools.count(1)

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if next(tries) < 4:
            raise OperationalError("the server closed the connection unexpectedly")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        running.finish(wrote("effect"))
    assert row(running.id).state == State.DONE
    assert Schedule.objects.filter(name="effect").count() == 1


def test_retries_during_an_outage_end(committed_db: None, define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(queue, "RETRY_FOR_SECONDS", 0.05)

    def run(running: Running, **ids: object) -> None:
        connection.execute_wrappers.append(refuse)

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        raise OperationalError("the server closed the connection unexpectedly")

    enqueue(define(run))
    running = take()
    try:
        execute(running)
    finally:
        connection.execute_wrappers.clear()
    assert row(running.id).state == State.RUNNING


@pytest.mark.parametrize("fresh", [True, False])
def test_concurrent_schedulers_queue_each_job_once(
    committed_db: None, only_ours: None, define: Define, fresh: bool
) -> None:
    for number in range(5):
        define(name=f"test.{number}", every=MINUTE)
    if not fresh:
        tick()
        run_all()
        turn_back(timedelta(minutes=7))

    def several() -> None:
        for _ in range(5):
            tick()

    together(*[several] * 4)
    assert Job.objects.filter(state="waiting").count() == 5
    assert all(next_at > database_now() for next_at in Schedule.objects.values_list("next_at", flat=True))


def test_concurrent_schedulers_never_run_a_job_too_often(committed_db: None, only_ours: None, define: Define) -> None:
    """With a very short span: one that looks while another moves the row on must not move it back."""
    span = timedelta(seconds=0.3)
    define(every=span)
    start = database_now()

    def several() -> int:
        many = 0
        while database_now() < start + timedelta(seconds=1.5):
            tick()
            many += run_all()
        return many

    many = sum(together(*[several] * 3))
    assert many <= (database_now() - start) / span + 1
