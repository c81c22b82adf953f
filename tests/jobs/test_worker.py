"""`duely worker` and `duely scheduler` as real processes."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from duely.jobs.models import Job, Schedule
from duely.jobs.rules import SUSPECT_LOSSES
from jobs import sample
from jobs.rig import Rig, database_url, seconds_since
from programs import alive, children, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


def test_a_worker_wakes_up_for_new_jobs_and_stops_on_sigterm(rig: Rig) -> None:
    worker = rig.worker()
    rig.queue(sample.note, "first")
    rig.wait_for("first")
    for number in range(3):
        time.sleep(0.3)  # it has gone to sleep again
        asked = time.monotonic()
        rig.queue(sample.note, f"woken{number}")
        rig.wait_for(f"woken{number}", seconds=5)
        assert seconds_since(asked) < 1.0
    rig.queue(sample.note, "short", seconds=0.7)
    rig.wait_for_begin("short")
    assert worker.stop() == 0
    assert rig.effects()["short"] == 1
    assert not Job.objects.exclude(state="done").exists()
    assert "Traceback" not in worker.out.read_text()


def test_a_long_job_is_handed_back_when_its_worker_stops(rig: Rig) -> None:
    worker = rig.worker(LEASE=60, DRAIN_SECONDS=0.5)
    job_id = rig.queue(sample.note, "long", seconds=30)
    rig.wait_for_begin("long")
    Job.objects.filter(pk=job_id).update(args={"name": "long", "trace": str(rig.trace)})
    rig.worker(LEASE=60)
    asked = time.monotonic()
    assert worker.stop() == 0
    assert seconds_since(asked) < 5
    rig.wait_for("long", seconds=5)
    job = Job.objects.get(pk=job_id)
    assert (job.attempts, job.losses) == (1, 0)
    assert rig.effects() == {"long": 1}
    assert len(rig.begun("long")) == 2


def test_the_jobs_of_a_killed_worker_run_again_when_its_lease_is_over(rig: Rig) -> None:
    worker = rig.worker()
    for name in "ab":
        rig.queue(sample.note, name, seconds=0.8)
    for name in "ab":
        rig.wait_for_begin(name)
    worker.kill()
    killed = time.monotonic()
    rig.worker()
    rig.wait_for(*"ab")
    # The lease, a look at it each second, a new process one after the other.
    assert seconds_since(killed) < 25
    assert rig.effects() == dict.fromkeys("ab", 1)
    assert {len(rig.begun(name)) for name in "ab"} == {2}


def test_an_endless_job_ends_its_worker_and_then_runs_isolated(rig: Rig) -> None:
    first = rig.worker(START_SECONDS=2, LONGEST_PAUSE_SECONDS=1)
    job_id = rig.queue(sample.endless, "stuck")
    assert first.process.wait(60) == 1
    assert "A job took longer than it may" in first.out.read_text()
    assert Job.objects.get(pk=job_id).state == "waiting"
    second = rig.worker(START_SECONDS=2)
    rig.queue(sample.note, "other")
    rig.wait_for("other", seconds=10)
    assert rig.wait_for_state(job_id, "dead").attempts == 2
    assert second.stop() == 0


def test_an_isolated_job_is_handed_back_too(rig: Rig) -> None:
    job_id = rig.queue(sample.note, "long", seconds=30)
    Job.objects.update(losses=SUSPECT_LOSSES)
    worker = rig.worker(LEASE=60, DRAIN_SECONDS=0.2)
    rig.wait_for_begin("long")
    (alone,) = rig.begun("long")
    assert alone != worker.pid
    assert worker.stop() == 0
    until(lambda: not alive(alone))
    job = Job.objects.get(pk=job_id)
    assert (job.state, job.attempts) == ("waiting", 0)


def test_an_isolated_job_ends_with_its_killed_worker(rig: Rig) -> None:
    rig.queue(sample.note, "long", seconds=30)
    Job.objects.update(losses=SUSPECT_LOSSES)
    worker = rig.worker()
    rig.wait_for_begin("long")
    (alone,) = rig.begun("long")
    worker.process.kill()
    worker.process.wait()
    until(lambda: not alive(alone))


def test_a_crashing_job_kills_two_workers_and_then_runs_isolated(rig: Rig) -> None:
    supervisor = rig.start("supervise", "worker")
    job_id = rig.queue(sample.crash, "crash")
    rig.wait_for_begin("crash")
    others = [f"other{number}" for number in range(5)]
    for name in others:
        rig.queue(sample.note, name)
    rig.wait_for(*others, seconds=15)
    job = rig.wait_for_state(job_id, "dead")
    assert job.attempts == 3
    assert job.error == "It died, alone in a process of its own."
    assert len(set(rig.begun("crash"))) == 3
    assert supervisor.out.read_text().count("child ended, starting it again") == 2
    (worker,) = children(supervisor.pid)
    assert worker not in rig.begun("crash")
    assert supervisor.stop() == 0
    assert not alive(worker)


@contextmanager
def database_away() -> Iterator[None]:
    """Every connection is cut, and no new one is let in."""
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.close_pool()
    with psycopg.connect(database_url().replace(name, "postgres"), autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        try:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="an SQLite file does not go away")
def test_a_worker_survives_an_outage_and_records_finished_jobs(rig: Rig) -> None:
    worker = rig.worker(LEASE=20)
    rig.queue(sample.note, "under-way", seconds=1.0)
    rig.wait_for_begin("under-way")
    with database_away():
        time.sleep(4)
    rig.wait_for("under-way")
    assert len(rig.begun("under-way")) == 1
    # It tries now and then, not all the time.
    said = worker.out.read_text()
    assert 1 <= said.count("the database is out of reach") <= 4
    assert 1 <= said.count("not told of new jobs for now") <= 6
    time.sleep(2)
    asked = time.monotonic()
    rig.queue(sample.note, "woken")
    rig.wait_for("woken")
    assert seconds_since(asked) < 1.0
    assert worker.stop() == 0


def test_an_idle_worker_writes_nothing(rig: Rig) -> None:
    def last_write() -> int:
        """A number that grows with everything that is written."""
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA data_version")
            else:
                cursor.execute("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables")
            number: int = cursor.fetchone()[0]
            return number

    worker = rig.worker("--scheduler", LONGEST_PAUSE_SECONDS=0.2, RECOVER_EVERY_SECONDS=0.2)
    until(lambda: Schedule.objects.exists() and not Job.objects.exclude(state="done").exists())
    time.sleep(2)  # PostgreSQL counts a second late
    before = last_write()
    time.sleep(2)
    assert last_write() == before
    assert worker.stop() == 0


def test_killed_schedulers_neither_skip_nor_repeat_a_job(rig: Rig) -> None:
    schedulers = [rig.start("scheduler", TICKS=True) for _ in range(2)]
    rig.worker(TICKS=True)
    for scheduler in schedulers:
        until(lambda scheduler=scheduler: scheduler.said("scheduler started"))
    rig.wait_for("tick")
    began = time.monotonic()
    before = rig.effects()["tick"]
    schedulers[0].kill()
    until(lambda: rig.effects()["tick"] >= before + 4)
    took = seconds_since(began)
    # Ticks are a second apart. There is no upper bound: a busy machine is late, which is not a skipped job.
    assert took > 2.5
    assert rig.effects()["tick"] <= before + took + 1
    assert schedulers[1].stop(signal.SIGINT) == 0


def test_a_worker_refuses_a_database_that_is_not_up_to_date(rig: Rig, fresh_database_url: str) -> None:
    program = rig.start("worker", settings={"DATABASE_URL": fresh_database_url})
    assert program.process.wait(60) == 3
    assert "Run: duely migrate" in program.out.read_text()
