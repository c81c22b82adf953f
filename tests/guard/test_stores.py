"""The places where requests are counted: exact with many at once, in many processes, and when Redis goes away."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from duely.core.clock import now
from duely.guard import limits, stores
from duely.guard.models import Hit
from duely.guard.rules import Rate, Scope
from duely.guard.stores import Database, Memory
from programs import environment, run
from redis_server import Redis

HAMMER = Path(__file__).parent / "hammer.py"


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Redis]:
    server = Redis()
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server: Redis, settings: Any) -> Iterator[Redis]:
    """A Redis that REDIS_URL names, answering and empty."""
    redis_server.stop()
    redis_server.start()
    settings.REDIS_URL = redis_server.url
    limits.reset()
    yield redis_server
    settings.REDIS_URL = None
    limits.reset()


@pytest.mark.parametrize("limit", [1, 5, 10, 50])
def test_memory_accepts_exactly_the_limit(limit: int) -> None:
    memory = Memory()
    start = threading.Barrier(20)

    def spend(_: int) -> int:
        start.wait()
        return sum(memory.spend("a", Rate(limit, 60)).is_allowed for _ in range(20))

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(spend, range(20))) == limit
    assert memory.spend("b", Rate(limit, 60)).is_allowed


def test_memory_forgets_the_least_recently_seen_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_KEYS", 3)
    memory = Memory()
    for key in "abcd":
        memory.spend(key, Rate(1, 60))
    assert [memory.spend(key, Rate(1, 60)).is_allowed for key in "dcb"] == [False, False, False]
    assert memory.spend("a", Rate(1, 60)).is_allowed


def test_memory_keeps_callers_that_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_KEYS", 3)
    memory = Memory()
    for key in "abcad":
        memory.spend(key, Rate(1, 60))
    assert not memory.spend("a", Rate(1, 60)).is_allowed
    assert memory.spend("b", Rate(1, 60)).is_allowed


def test_a_store_returns_the_remaining_requests_and_the_wait() -> None:
    memory = Memory()
    first, second, third = (memory.spend("a", Rate(2, 60)) for _ in range(3))
    assert [spent.is_allowed for spent in (first, second, third)] == [True, True, False]
    assert [spent.remaining for spent in (first, second, third)] == [1, 0, 0]
    assert 59 < third.wait <= first.wait <= 60


@pytest.mark.django_db
def test_the_database_counts_the_same(settings: Any) -> None:
    database = Database()
    spent = [database.spend("a", Rate(2, 60)) for _ in range(3)]
    assert [one.is_allowed for one in spent] == [True, True, False]
    assert [one.remaining for one in spent] == [1, 0, 0]
    assert spent[0].wait == 60
    assert 50 < spent[2].wait <= 60
    assert database.spend("b", Rate(2, 60)).is_allowed
    Hit.objects.update(at=now() - timedelta(seconds=61))
    assert database.spend("a", Rate(2, 60)).is_allowed


@pytest.mark.django_db
def test_old_hits_are_purged() -> None:
    database = Database()
    for _ in range(3):
        database.spend("a", Rate(9, 60))
    Hit.objects.filter(pk=Hit.objects.latest("pk").pk).update(at=now() - timedelta(days=1, minutes=1))
    assert stores.purge_hits() == 1
    assert stores.purge_hits() == 0
    assert Hit.objects.count() == 2


@pytest.mark.django_db
def test_hits_are_purged_in_batches_of_a_thousand() -> None:
    Hit.objects.bulk_create(Hit(key="a", at=now() - timedelta(days=2)) for _ in range(1001))
    assert [stores.purge_hits() for _ in range(3)] == [1000, 1, 0]


def test_redis_counts_the_same(redis: Redis) -> None:
    store = stores.shared()
    assert store is not None
    spent = [store.spend("a", Rate(2, 60)) for _ in range(3)]
    assert [one.is_allowed for one in spent] == [True, True, False]
    assert [one.remaining for one in spent] == [1, 0, 0]
    assert 50 < spent[2].wait <= 60
    assert store.spend("b", Rate(1, 1)).is_allowed
    end = time.monotonic() + 30
    while not store.spend("b", Rate(1, 1)).is_allowed:
        assert time.monotonic() < end


@pytest.mark.django_db
def test_limits_hold_while_redis_is_away(redis: Redis, settings: Any) -> None:
    settings.RATE_LIMITS = {"login": Rate(2, 60), "user": Rate(2, 60), "anonymous": None}
    redis.stop()
    for scope in (Scope.LOGIN, Scope.USER):
        statuses = [limits.spend(scope, "someone") for _ in range(3)]
        assert [status.is_allowed for status in statuses if status] == [True, True, False]
    assert Hit.objects.count() == 2


@pytest.mark.django_db
def test_a_hanging_redis_delays_only_one_request(redis: Redis, settings: Any) -> None:
    import socket

    settings.RATE_LIMITS = {"user": Rate(100, 60), "anonymous": None, "login": None}
    with socket.create_server(("127.0.0.1", 0)) as hole:
        settings.REDIS_URL = f"redis://127.0.0.1:{hole.getsockname()[1]}/0"
        limits.reset()
        assert all(limits.spend(Scope.USER, "someone") for _ in range(20))
        hole.settimeout(1)
        accepted = [hole.accept()[0]]
        hole.setblocking(False)
        with pytest.raises(BlockingIOError):
            hole.accept()
        for plug in accepted:
            plug.close()


def test_redis_is_used_again_after_the_break(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "BREAK_SECONDS", 0.2)
    store = stores.shared()
    assert store is not None
    redis.stop()
    with pytest.raises(stores.Unreachable):
        store.spend("a", Rate(1, 60))
    redis.start()
    end = time.monotonic() + 30
    while True:
        try:
            assert store.spend("a", Rate(1, 60)).is_allowed
            break
        except stores.Unreachable:
            assert time.monotonic() < end


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["database", "redis"])
def test_four_processes_together_accept_exactly_the_limit(
    kind: str, tmp_path: Path, fresh_database_url: str, redis_server: Redis
) -> None:
    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0
    # PostgreSQL has a hundred connections, and each thread of the test takes one.
    threads = 20 if kind == "database" and connection.vendor == "postgresql" else 50
    redis_server.stop()
    redis_server.start()
    with ExitStack() as stack:
        processes = [
            subprocess.Popen(
                [sys.executable, str(HAMMER), str(threads), kind],
                cwd=tmp_path,
                env=environment(fresh_database_url, REDIS_URL=redis_server.url),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for process in processes:
            stack.callback(process.communicate, timeout=60)
        assert [answer(process) for process in processes] == ["ready"] * 4
        for limit in (5, 10, 50):
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{limit}\n")
                process.stdin.flush()
            found = [json.loads(answer(process)) for process in processes]
            assert [fault for each in found for fault in each["faults"]] == []
            assert sum(each["passed"] for each in found) == limit


def answer(process: "subprocess.Popen[str]") -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_answers_tells_whether_redis_is_up(redis: Redis) -> None:
    store = stores.shared()
    assert store is not None
    assert store.answers() is True
    redis.stop()
    assert store.answers() is False


@pytest.mark.parametrize("kind", ["database", "redis"])
def test_peek_returns_the_state_and_counts_nothing(kind: str, redis: Redis, committed_db: None) -> None:
    store = Database() if kind == "database" else stores.Redis(redis.url)
    two, one = Rate(2, 60), Rate(1, 600)
    store.spend("a", two)
    store.spend("b", one)

    for _ in range(3):
        free, full, fresh = store.peek([("a", two), ("b", one), ("c", two)])

        assert (free.is_allowed, free.remaining, full.is_allowed, full.remaining) == (True, 1, False, 0)
        assert 50 < free.wait <= 60
        assert 590 < full.wait <= 600
        assert fresh == (True, 2, 0.0)


def test_wrong_guesses_are_counted_in_redis(redis: Redis, committed_db: None, settings: Any) -> None:
    settings.REDIS_URL = redis.url
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "login": Rate(10, 60)}
    places = [("alice here", Rate(2, 60)), ("alice", Rate(5, 600))]

    waits = []
    for _ in range(3):
        waits.append(limits.guess_wait(places))
        limits.note_wrong_guess(places)

    assert waits[:2] == [0, 0]
    assert 50 < waits[2] <= 60
    assert not Hit.objects.exists()
