"""The thread of `duely.guard.watch` starts once in each process, and again after it died."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from cast import Api, adam
from duely.guard import bans, queries
from duely.guard import watch as module
from duely.guard.watch import Watch, watch
from programs import until


def ban(boss: Api, network: str) -> None:
    assert boss.post("bans/", {"network": network}).status_code == 201
    bans.reset()  # as if another process had created it


def is_out(address: str) -> bool:
    return bans.refusal(address) is not None


@pytest.fixture
def own(committed_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """A watch whose thread ends with the test, because a fake main thread ends."""
    alive = threading.Event()
    alive.set()

    class Main:
        def is_alive(self) -> bool:
            return alive.is_set()

    monkeypatch.setattr(module.threading, "main_thread", Main)
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.02)
    own_watch = Watch()
    yield own_watch
    alive.clear()
    if own_watch._thread is not None:
        own_watch._thread.join(30)
        assert not own_watch._thread.is_alive()


def test_the_thread_starts_once_after_reading_the_bans(own: Watch) -> None:
    boss = Api(adam())
    ban(boss, "198.51.100.7")
    watch.reset()
    own.begin()
    assert is_out("198.51.100.7")
    thread = own._thread
    own.begin()
    assert own._thread is thread
    assert thread is not None
    assert not thread.daemon
    ban(boss, "198.51.100.8")
    until(lambda: is_out("198.51.100.8"))


def test_the_next_request_restarts_a_dead_thread(own: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    unhandled: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", unhandled.append)
    own.begin()
    first = own._thread
    assert first is not None
    with monkeypatch.context() as broken:
        broken.setattr(queries, "last_change", lambda: 1 // 0)
        until(lambda: not first.is_alive())
    assert len(unhandled) == 1
    own.begin()
    assert own._thread is not first
    assert own._is_running()


def test_concurrent_first_requests_start_one_thread(own: Watch) -> None:
    start = threading.Barrier(8)

    def first_request() -> None:
        start.wait()
        own.begin()
        connection.close()

    workers = [threading.Thread(target=first_request) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [thread.name for thread in threading.enumerate()].count("duely-guard") == 1
