"""What runs by the clock: queued once by any number of schedulers, caught up once after a stop."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.db.models import F

from duely.jobs import registry
from duely.jobs.models import Job, Schedule
from duely.jobs.queries import database_now
from duely.jobs.queue import claim, enqueue, recover, tick
from duely.jobs.registry import Definition
from duely.jobs.rules import State
from jobs.helpers import take

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("only_ours")]

Define = Callable[..., Definition]
MINUTE = timedelta(minutes=1)


def turn_back(by: timedelta) -> None:
    """As if that much time had passed."""
    Schedule.objects.update(next_at=F("next_at") - by)


def run_all() -> int:
    """Finish what is due; how many that were."""
    running = claim("test:1", 100)
    for job in running:
        job.finish()
    return len(running)


def test_a_new_schedule_runs_at_once_and_then_every_interval(define: Define) -> None:
    define(every=MINUTE)
    define(name="test.other")
    assert timedelta(seconds=58) < tick() <= MINUTE
    assert run_all() == 1
    tick()
    assert run_all() == 0
    for _ in range(3):
        turn_back(MINUTE)
        tick()
        assert run_all() == 1
    tick()
    assert run_all() == 0


def test_tick_returns_the_time_to_the_next_run(define: Define) -> None:
    define(name="test.slow", every=timedelta(hours=2))
    define(name="test.fast", every=MINUTE)
    tick()
    turn_back(timedelta(seconds=20))
    assert timedelta(seconds=38) < tick() <= timedelta(seconds=40)


def test_without_schedules_tick_returns_a_day() -> None:
    assert tick() == timedelta(days=1)


def test_after_a_long_stop_a_schedule_runs_once(define: Define) -> None:
    define(every=MINUTE)
    tick()
    run_all()
    planned = Schedule.objects.get().next_at
    turn_back(timedelta(days=10))
    tick()
    tick()
    assert run_all() == 1
    following = Schedule.objects.get().next_at
    assert (following - planned) % MINUTE == timedelta()
    assert database_now() < following <= database_now() + MINUTE


def test_a_waiting_scheduled_job_is_not_queued_twice(define: Define) -> None:
    define(every=MINUTE)
    for _ in range(3):
        tick()
        turn_back(MINUTE)
    assert Job.objects.count() == 1


def test_a_running_scheduled_job_does_not_block_the_next(define: Define) -> None:
    define(every=MINUTE)
    tick()
    take()
    turn_back(MINUTE)
    tick()
    assert sorted(Job.objects.values_list("state", flat=True)) == [State.RUNNING, State.WAITING]


def test_a_shorter_interval_applies_soon_after_an_upgrade(define: Define) -> None:
    define(every=timedelta(days=1))
    tick()
    run_all()
    registry._known.clear()
    define(every=MINUTE)
    assert timedelta(seconds=58) < tick() <= MINUTE
    assert run_all() == 0
    turn_back(MINUTE)
    tick()
    assert run_all() == 1


def test_a_longer_interval_applies_from_the_next_run(define: Define) -> None:
    define(every=MINUTE)
    tick()
    run_all()
    registry._known.clear()
    define(every=timedelta(days=1))
    assert tick() <= MINUTE
    turn_back(MINUTE)
    assert tick() > timedelta(hours=23)
    assert run_all() == 1


def test_rows_of_removed_schedules_do_no_harm(define: Define) -> None:
    define(name="test.old", every=MINUTE)
    tick()
    registry._known.clear()
    define(every=timedelta(hours=1))
    turn_back(timedelta(days=1))
    assert tick() > timedelta(minutes=59)
    assert list(Job.objects.filter(state="waiting").order_by("id").values_list("name", flat=True)) == [
        "test.old",
        "test.job",
    ]
    assert run_all() == 1


def test_a_job_that_lost_its_schedule_is_not_queued(define: Define) -> None:
    define(every=MINUTE)
    tick()
    run_all()
    registry._known.clear()
    define()
    turn_back(MINUTE)
    assert tick() == timedelta(days=1)
    assert not Job.objects.filter(state="waiting").exists()


@pytest.mark.parametrize("off", [timedelta(minutes=-10), timedelta(minutes=10), timedelta(days=4000)])
def test_a_node_with_a_wrong_clock_uses_the_databases_clock(define: Define, off: timedelta) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("the database of a node is in its process, and has its clock")
    job = define(every=MINUTE)
    tick()
    run_all()
    with time_machine.travel(datetime.now(UTC) + off):
        assert abs((database_now() - datetime.now(UTC)) + off) < timedelta(seconds=5)
        tick()
        assert run_all() == 0
        enqueue(job)
        (running,) = claim("test:1", 5)
        assert recover() == 0
        assert abs(running.now - database_now()) < timedelta(seconds=5)
        running.finish()
    assert run_all() == 0
