"""The queue: what goes in comes out once, and what failed comes again."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from duely.core.ids import new_id
from duely.jobs import queue, registry
from duely.jobs.jobs import purge as purge_job
from duely.jobs.models import Job, Schedule
from duely.jobs.queries import counts, database_now, latest_jobs, oldest_wait, time_to_next
from duely.jobs.queue import LeaseLost, Postponed, Running, claim, claim_one, enqueue, enqueue_many
from duely.jobs.registry import Definition
from duely.jobs.rules import LEASE, SUSPECT_LOSSES, State
from duely.jobs.runner import execute, run_one
from jobs.helpers import due, expire, row, take

pytestmark = pytest.mark.django_db

Define = Callable[..., Definition]


def wrote(name: str) -> Callable[[], object]:
    """An effect of a job that can be counted."""
    return lambda: Schedule.objects.bulk_create([Schedule(name=name, next_at=database_now())])


def seconds_until(instant: datetime) -> float:
    return (instant - database_now()).total_seconds()


# In


def test_a_job_exists_if_and_only_if_the_transaction_does(define: Define) -> None:
    job = define()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        enqueue(job)
        enqueue_many(job, [{"number": 1}, {"number": 2}])
        raise ZeroDivisionError
    assert not Job.objects.exists()
    with transaction.atomic():
        job_id = enqueue(job, number=3)
    assert [running.id for running in claim("test:1", 5)] == [job_id]


def test_a_job_is_called_with_what_it_was_queued_with(define: Define) -> None:
    called: list[Any] = []
    job = define(lambda running, **ids: called.append((running.attempt, ids)))
    task = new_id()
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    enqueue(job, task_id=task, number=2, name='"ä\n', nothing=None, many=[1, {"a": True}], day=date(2026, 3, 1), at=at)
    execute(take())
    assert called == [
        (
            1,
            {
                "task_id": str(task),
                "number": 2,
                "name": '"ä\n',
                "nothing": None,
                "many": [1, {"a": True}],
                "day": "2026-03-01",
                "at": "2026-03-01 12:00:00+00:00",
            },
        )
    ]
    assert Job.objects.get().state == State.DONE


def test_many_jobs_are_queued_in_few_statements(define: Define) -> None:
    job = define()
    with CaptureQueriesContext(
        connection,
    ) as captured:
        enqueue_many(job, [{"number": number} for number in range(250)])
    assert len(captured) == 3
    numbers = [running.args["number"] for running in claim("test:1", 500)]
    assert sorted(numbers) == list(range(250))


def test_queueing_no_jobs_is_allowed(define: Define) -> None:
    enqueue_many(define(), [])
    assert not Job.objects.exists()


def test_one_job_of_a_key_waits_at_a_time(define: Define) -> None:
    job, other = define(), define(name="test.other")
    first = enqueue(job, unique="a")
    assert first is not None
    assert enqueue(job, unique="a") is None
    assert enqueue(job, unique="b") is not None
    assert enqueue(other, unique="a") is not None
    assert enqueue(job) is not None


def test_a_running_job_lets_another_of_its_key_wait(define: Define) -> None:
    job = define()
    enqueue(job, unique="a")
    running = take()
    second = enqueue(job, unique="a")
    assert second is not None
    running.finish()
    assert take().id == second


def test_a_retry_is_dropped_if_a_job_of_its_key_waits(define: Define) -> None:
    job = define()
    first = enqueue(job, unique="a")
    running = take()
    second = enqueue(job, unique="a")
    assert queue.fail(running, "no") == State.DONE
    assert (row(first).state, row(first).error) == (State.DONE, "Another one took its place.")
    assert take().id == second


@pytest.mark.parametrize("loses", [queue.release, expire])
def test_a_recovered_job_is_dropped_if_a_job_of_its_key_waits(define: Define, loses: Callable[[Running], None]) -> None:
    job = define()
    first = enqueue(job, unique="a")
    running = take()
    second = enqueue(job, unique="a")
    loses(running)
    queue.recover()
    assert row(first).state == State.DONE
    assert take().id == second


def test_a_job_is_not_taken_before_its_time(define: Define) -> None:
    job = define()
    enqueue(job, run_at=database_now() + timedelta(hours=1))
    assert claim("test:1", 5) == []
    assert oldest_wait() is None
    wait = time_to_next(["test.job"])
    assert wait is not None
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)
    assert time_to_next(["test.other"]) is None
    Job.objects.update(run_at=Now())
    assert len(claim("test:1", 5)) == 1


def test_urgent_jobs_come_first_then_the_oldest(define: Define) -> None:
    slow, fast = define(name="test.slow"), define(name="test.fast", urgent=True)
    now = database_now()
    expected = [
        enqueue(fast, run_at=now - timedelta(seconds=1)),
        enqueue(fast),
        enqueue(slow, run_at=now - timedelta(days=2)),
        enqueue(slow, run_at=now - timedelta(days=1)),
        enqueue(slow),
    ]
    assert [running.id for running in claim("test:1", 4)] == expected[:4]
    assert [running.id for running in claim("test:1", 4)] == expected[4:]


def test_jobs_of_an_unknown_name_are_not_taken(define: Define, only_ours: None) -> None:
    new = define(name="test.new")
    job_id = enqueue(new)
    del registry._known["test.new"]
    define()
    assert claim("test:1", 5) == []
    assert claim_one("test:1", job_id) is None
    assert not run_one(job_id, "test:1")
    Job.objects.update(losses=SUSPECT_LOSSES)
    assert claim("test:1", 5, suspect=True) == []
    assert row(job_id).state == State.WAITING


def test_a_recovered_job_of_an_unknown_name_waits_again(define: Define, only_ours: None) -> None:
    enqueue(define(name="test.new", attempts=1))
    running = take()
    expire(running)
    del registry._known["test.new"]
    assert queue.recover() == 1
    assert row(running.id).state == State.WAITING


# Out


def test_a_running_job_is_not_taken_again(define: Define) -> None:
    job_id = enqueue(define())
    running = take("host:7")
    assert claim("test:2", 5) == []
    assert claim_one("test:2", job_id) is None
    stored = row(job_id)
    assert (stored.state, stored.worker, stored.attempts, stored.fence) == (State.RUNNING, "host:7", 1, 1)
    assert stored.lease_until is not None
    assert 0 < seconds_until(stored.lease_until) <= LEASE.total_seconds()
    assert abs(seconds_until(running.now)) < 5


# How it ends


def test_a_job_commits_its_writes_with_its_end(define: Define) -> None:
    job_id = enqueue(define())
    running = take()
    running.finish(wrote("effect"))
    assert running.finished
    assert Schedule.objects.filter(name="effect").exists()
    stored = row(job_id)
    assert (stored.state, stored.lease_until, stored.error) == (State.DONE, None, "")
    assert stored.finished_at is not None


def test_a_job_whose_write_fails_has_not_ended(define: Define) -> None:
    enqueue(define())
    running = take()

    def write() -> None:
        wrote("effect")()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        running.finish(write)
    assert not running.finished
    assert not Schedule.objects.filter(name="effect").exists()
    assert row(running.id).state == State.RUNNING


def test_a_lease_that_is_renewed_does_not_expire(define: Define) -> None:
    enqueue(define())
    running = take()
    expire(running)
    running.confirm()
    assert queue.recover() == 0
    assert row(running.id).state == State.RUNNING


def test_a_job_that_lost_two_workers_runs_isolated(define: Define) -> None:
    job_id = enqueue(define())
    expire(take("host:7"))
    assert queue.recover() == 1
    stored = row(job_id)
    assert (stored.state, stored.attempts, stored.losses) == (State.WAITING, 1, 1)
    assert stored.error == "The worker host:7 was not heard of any more."
    assert seconds_until(stored.run_at) <= 0
    again = take("host:8")
    assert (again.id, again.attempt, again.fence) == (job_id, 2, 2)
    expire(again)
    queue.recover()
    due(job_id)
    assert claim("test:1", 5) == []
    (alone,) = claim("test:2", 5, suspect=True)
    assert (alone.id, alone.attempt, alone.fence) == (job_id, 3, 3)


def test_a_job_put_back_without_a_fault_keeps_its_place(define: Define) -> None:
    job = define()
    # Within one millisecond their ids decide.
    first, second = sorted((enqueue(job), enqueue(job)), key=lambda job_id: (row(job_id).run_at, job_id))
    place = row(first).run_at
    (running,) = claim("test:1", 1)
    queue.release(running)
    assert row(first).run_at == place
    (running,) = claim("test:1", 1)
    expire(running)
    queue.recover()
    assert row(first).run_at == place
    assert [running.id for running in claim("test:1", 2)] == [first, second]


def test_a_failure_resets_the_count_of_lost_workers(define: Define) -> None:
    job_id = enqueue(define())
    expire(take())
    queue.recover()
    queue.fail(take(), "not today")
    assert row(job_id).losses == 0


def test_a_worker_without_the_lease_cannot_end_the_job(define: Define) -> None:
    job_id = enqueue(define())
    zombie = take("host:7")
    expire(zombie)
    queue.recover()
    again = claim_one("test:2", job_id)
    assert again is not None
    for act in (
        zombie.confirm,
        lambda: zombie.finish(wrote("zombie")),
        lambda: queue.fail(zombie, "no"),
        lambda: queue.give_up(zombie, "no"),
        lambda: queue.release(zombie),
    ):
        with pytest.raises(LeaseLost):
            act()
    assert not Schedule.objects.filter(name="zombie").exists()
    assert not queue.extend(zombie)
    again.finish(wrote("effect"))
    assert Schedule.objects.filter(name="effect").exists()
    with pytest.raises(LeaseLost):
        zombie.finish(wrote("zombie"))


def test_an_expired_lease_is_noticed_before_another_worker_takes_over(define: Define) -> None:
    enqueue(define())
    zombie = take()
    expire(zombie)
    queue.recover()
    with pytest.raises(LeaseLost):
        zombie.finish(wrote("zombie"))
    assert not Schedule.objects.filter(name="zombie").exists()


def test_the_wait_after_a_failure_doubles(define: Define) -> None:
    def run(running: Running, **ids: object) -> None:
        raise ValueError("not today")

    job_id = enqueue(define(run, attempts=4))
    for attempt, wait in enumerate((5, 10, 20), start=1):
        execute(take())
        stored = row(job_id)
        assert (stored.state, stored.attempts, stored.error) == (State.WAITING, attempt, "ValueError: not today")
        assert stored.losses == 0
        assert wait * 0.8 - 2 <= seconds_until(stored.run_at) <= wait * 1.2
        assert claim("test:1", 5) == []
        due(job_id)
    execute(take())
    stored = row(job_id)
    assert (stored.state, stored.attempts) == (State.DEAD, 4)
    assert stored.finished_at is not None
    assert claim("test:1", 5) == []


def test_a_postponed_job_runs_at_the_given_time(define: Define) -> None:
    def run(running: Running, **ids: object) -> None:
        raise Postponed("the server is busy", after=timedelta(hours=3))

    job_id = enqueue(define(run))
    execute(take())
    stored = row(job_id)
    assert (stored.state, stored.error) == (State.WAITING, "the server is busy")
    assert timedelta(hours=2, minutes=59).total_seconds() < seconds_until(stored.run_at) <= 3 * 3600


def test_a_job_that_raises_system_exit_fails(define: Define) -> None:
    def run(running: Running, **ids: object) -> None:
        raise SystemExit(3)

    job_id = enqueue(define(run))
    execute(take())
    assert (row(job_id).state, row(job_id).error) == (State.WAITING, "SystemExit: 3")


@pytest.mark.parametrize("text", ["a\0b", "half \\ud83d", "x" * 5000])
def test_any_text_of_an_error_can_be_stored(define: Define, text: str) -> None:
    job_id = enqueue(define())
    queue.fail(take(), text.encode().decode("unicode_escape"))
    stored = row(job_id)
    assert stored.state == State.WAITING
    assert len(stored.error) <= queue.MAX_ERROR


def test_unknown_arguments_fail_the_job(define: Define) -> None:
    def run(running: Running) -> None:
        raise AssertionError

    job_id = enqueue(define(run), number=1)
    execute(take())
    assert row(job_id).error.startswith("TypeError: ")


def test_an_error_after_the_end_changes_nothing(define: Define) -> None:
    def run(running: Running, **ids: object) -> None:
        running.finish(wrote("effect"))
        raise ValueError("too late")

    job_id = enqueue(define(run))
    execute(take())
    assert row(job_id).state == State.DONE
    assert Schedule.objects.filter(name="effect").exists()


def test_a_job_that_lost_its_lease_writes_nothing(define: Define) -> None:
    def run(running: Running, **ids: object) -> None:
        expire(running)
        queue.recover()
        running.finish(wrote("zombie"))

    job_id = enqueue(define(run))
    execute(take())
    assert (row(job_id).state, row(job_id).attempts) == (State.WAITING, 1)
    assert not Schedule.objects.filter(name="zombie").exists()


def test_a_job_that_kills_its_workers_is_dead_after_its_attempts(define: Define) -> None:
    job_id = enqueue(define(attempts=3))
    for attempt in (1, 2, 3):
        assert row(job_id).state == State.WAITING
        due(job_id)
        running = claim_one("host:7", job_id)
        assert running is not None
        assert running.attempt == attempt
        expire(running)
        queue.recover()
        if attempt == 2:
            assert seconds_until(row(job_id).run_at) > 0
            due(job_id)
    assert row(job_id).state == State.DEAD


def test_a_released_job_counts_no_attempt(define: Define) -> None:
    job_id = enqueue(define(attempts=1))
    queue.release(take())
    stored = row(job_id)
    assert (stored.state, stored.attempts, stored.losses) == (State.WAITING, 0, 0)
    assert take().fence == 2


def test_another_process_runs_a_job_by_its_fence(define: Define) -> None:
    job_id = enqueue(define())
    assert job_id is not None
    running = take()
    left = queue.running_job(job_id, running.fence)
    assert left is not None
    assert (left.args, left.attempt, left.fence) == (running.args, running.attempt, running.fence)
    assert queue.give_up(running, "It died.") == State.WAITING
    assert (row(job_id).losses, row(job_id).error) == (SUSPECT_LOSSES, "It died.")
    assert queue.running_job(job_id, running.fence) is None
    with pytest.raises(LeaseLost):
        running.finish()


def test_one_job_is_run_by_its_id(define: Define) -> None:
    job_id = enqueue(define())
    assert job_id is not None
    assert run_one(job_id, "test:1")
    assert row(job_id).state == State.DONE
    assert not run_one(job_id, "test:1")
    assert not run_one(new_id(), "test:1")


# Mending, looking, cleaning up


def dead(define: Define, name: str, **ids: Any) -> Any:
    job_id = enqueue(define(name=name, attempts=1), **ids)
    (running,) = claim("test:1", 1)
    queue.fail(running, "no")
    return job_id


def test_dead_jobs_are_restarted(define: Define) -> None:
    first, second, third = (dead(define, f"test.{name}") for name in "abc")
    assert queue.revive(job_ids=[first, new_id()]) == 1
    assert row(first).attempts == 0
    assert queue.revive(name="test.b") == 1
    assert queue.revive() == 1
    assert queue.revive() == 0
    assert {running.id for running in claim("test:1", 5)} == {first, second, third}


def test_dead_jobs_with_one_key_are_all_restarted(define: Define) -> None:
    job = define(attempts=1)
    for _ in range(2):
        enqueue(job, unique="a")
        queue.fail(take(), "no")
    enqueue(job, unique="a")
    assert queue.revive() == 2
    assert len(claim("test:1", 5)) == 3


def test_only_old_ended_jobs_are_purged(define: Define) -> None:
    job = define()
    states = [("done", 23), ("done", 25), ("dead", 29 * 24), ("dead", 31 * 24), ("waiting", 9999)]
    for number, (state, hours) in enumerate(states):
        job_id = enqueue(job, number=number)
        finished = None if state == "waiting" else Now() - timedelta(hours=hours)
        Job.objects.filter(pk=job_id).update(state=state, finished_at=finished)
    execute(Running(new_id(), purge_job.name, {}, 1, 1, database_now()))
    assert sorted(Job.objects.values_list("args__number", flat=True)) == [0, 2, 4]
    assert queue.purge_dead() == 1
    assert sorted(Job.objects.values_list("args__number", flat=True)) == [0, 4]


def test_jobs_are_purged_in_batches(define: Define) -> None:
    enqueue_many(define(), [{"number": number} for number in range(5)])
    Job.objects.update(state="done", finished_at=Now() - timedelta(days=2))
    assert [queue.purge(limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_counts_and_latest_jobs_show_the_queue(define: Define) -> None:
    dead_id = dead(define, "test.a")
    waiting = enqueue(define(), run_at=database_now() - timedelta(hours=2))
    assert counts() == {("test.a", State.DEAD): 1, ("test.job", State.WAITING): 1}
    assert [job.pk for job in latest_jobs(state=None, name=None, limit=5)] == [waiting, dead_id]
    assert [job.pk for job in latest_jobs(state=State.DEAD, name=None, limit=5)] == [dead_id]
    assert [job.pk for job in latest_jobs(state=None, name="test.job", limit=5)] == [waiting]
    assert [job.pk for job in latest_jobs(state=None, name=None, limit=1)] == [waiting]
    wait = oldest_wait()
    assert wait is not None
    assert timedelta(hours=2) <= wait < timedelta(hours=2, minutes=1)


def test_an_idle_worker_runs_few_queries_and_writes_nothing(define: Define) -> None:
    job = define()
    enqueue(job, run_at=database_now() + timedelta(hours=1))
    queue.tick()
    Job.objects.exclude(name="test.job").delete()
    with CaptureQueriesContext(connection) as captured:
        assert claim("test:1", 4) == []
        assert claim("test:1", 4, suspect=True) == []
        assert queue.recover() == 0
        queue.tick()
        time_to_next(list(registry.known()))
    statements = [query["sql"] for query in captured]
    assert len(statements) <= 10
    assert all(statement.lstrip("(").startswith("SELECT") for statement in statements), statements


def test_two_jobs_of_one_name_are_an_error(define: Define) -> None:
    define()
    with pytest.raises(ValueError, match=r"test\.job"):
        define()
