"""Jobs on Celery: a real Redis, workers and beat as real processes. The row decides, whatever happens to messages."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from duely.jobs.models import Job
from jobs import sample
from jobs.rig import Program, Rig, seconds_since
from programs import environment, until
from redis_server import Redis

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]

AGAIN = {"RESEND_AFTER": 2.0, "LEASE": 2.0, "LONGEST_PAUSE_SECONDS": 1.0}


@pytest.fixture
def broker() -> Iterator[Redis]:
    server = Redis()
    yield server
    server.stop()


def beat(rig: Rig, broker: Redis, **times: Any) -> Program:
    settings = {"CELERY_BROKER_URL": broker.url}
    return rig.start("celery", "-A", "duely", "beat", settings=settings, **{**AGAIN, **times})


def worker(rig: Rig, broker: Redis, **times: Any) -> Program:
    return rig.start(
        *("celery", "-A", "duely", "worker", "--concurrency", "2", "--without-gossip", "--without-mingle"),
        settings={"CELERY_BROKER_URL": broker.url},
        **{**AGAIN, **times},
    )


def messages(broker: Redis) -> int:
    with redis.Redis.from_url(broker.url) as client:
        return int(client.llen("duely"))


def test_jobs_and_schedules_run_once(rig: Rig, broker: Redis) -> None:
    scheduler = beat(rig, broker, TICKS=True)
    one = worker(rig, broker, TICKS=True)
    for number in range(10):
        rig.queue(sample.note, f"job{number}")
    rig.wait_for("tick", *(f"job{number}" for number in range(10)))
    until(lambda: rig.effects()["tick"] >= 3)
    assert all(many == 1 for name, many in rig.effects().items() if name != "tick")
    asked = time.monotonic()
    rig.queue(sample.note, "soon")
    rig.wait_for("soon")
    assert seconds_since(asked) < 2
    asked = time.monotonic()
    assert scheduler.stop() == 0
    assert seconds_since(asked) < 4
    rig.queue(sample.note, "last", seconds=0.5)
    assert one.stop() == 0
    for program in (scheduler, one):
        assert "Traceback" not in program.out.read_text()


def test_lost_and_duplicate_messages_do_no_harm(rig: Rig, broker: Redis) -> None:
    """All at once: FLUSHALL takes messages away, RESEND_AFTER and this test send others twice."""
    scheduler = beat(rig, broker, RESEND_AFTER=1.0, MAX_MESSAGES=5)
    ids = [rig.queue(sample.note, f"job{number}") for number in range(12)]
    until(lambda: messages(broker) == 5)
    time.sleep(1.5)
    assert messages(broker) == 5  # no more, though nobody takes them
    with redis.Redis.from_url(broker.url) as client:
        client.flushall()
    until(lambda: messages(broker) == 5)
    with redis.Redis.from_url(broker.url) as client:
        for message in client.lrange("duely", 0, -1):
            client.rpush("duely", message, message)
    worker(rig, broker)
    rig.wait_for(*(f"job{number}" for number in range(12)))
    until(lambda: messages(broker) == 0)
    assert set(rig.effects().values()) == {1}
    assert all(len(rig.begun(f"job{number}")) == 1 for number in range(12))
    assert Job.objects.filter(pk__in=ids, state="done", attempts=1).count() == 12
    assert scheduler.stop() == 0


def test_a_killed_worker_and_a_broker_outage_lose_nothing(rig: Rig, broker: Redis) -> None:
    scheduler = beat(rig, broker)
    first = worker(rig, broker)
    rig.queue(sample.note, "killed", seconds=1.5)
    rig.wait_for_begin("killed")
    first.kill()
    second = worker(rig, broker)
    rig.wait_for("killed")
    assert rig.effects() == {"killed": 1}
    assert len(rig.begun("killed")) == 2

    broker.stop()
    asked = time.monotonic()
    for number in range(5):
        rig.queue(sample.note, f"away{number}")
    assert seconds_since(asked) < 1
    until(lambda: scheduler.said("the broker is out of reach"))
    broker.start()
    # Celery's worker does not always come back to a Redis that was away: what counts is that the next one finds all.
    second.kill()
    third = worker(rig, broker)
    rig.wait_for(*(f"away{number}" for number in range(5)))
    assert set(rig.effects().values()) == {1}
    assert scheduler.stop() == 0
    assert third.stop() == 0


def test_crashing_and_endless_jobs_are_dead_after_their_attempts(rig: Rig, broker: Redis) -> None:
    beat(rig, broker)
    worker(rig, broker)
    crash = rig.queue(sample.crash, "crash")
    endless = rig.queue(sample.endless, "endless")
    assert rig.wait_for_state(crash, "dead").attempts == 3
    assert rig.wait_for_state(endless, "dead").attempts == 2
    rig.queue(sample.note, "after")
    rig.wait_for("after")


def test_without_a_broker_celery_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "duely", "worker"],
        cwd=tmp_path,
        env=environment(f"sqlite:///{tmp_path}/duely.sqlite3"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "CELERY_BROKER_URL: is needed to run jobs on Celery" in done.stdout + done.stderr
