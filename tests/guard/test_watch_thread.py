"""The thread of `duely.guard.watch`: started once in each process, and again when it died."""

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
    bans.forget()  # as another process does: nothing of it is in this one's memory


def is_out(address: str) -> bool:
    return bans.refusal(address) is not None


@pytest.fixture
def own(committed_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """One with a thread that ends with the test: it takes this very thread for the process's main one."""
    alive = threading.Event()
    alive.set()

    class Main:
        def is_alive(self) -> bool:
            return alive.is_set()

    monkeypatch.setattr(module.threading, "main_thread", Main)
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.02)
    made = Watch()
    yield made
    alive.clear()
    if made._thread is not None:
        made._thread.join(30)
        assert not made._thread.is_alive()


def test_the_thread_starts_once_and_has_read_the_bans_by_then(own: Watch) -> None:
    boss = Api(adam())
    ban(boss, "198.51.100.7")
    watch.forget()
    own.begin()
    assert is_out("198.51.100.7")
    thread = own._thread
    own.begin()
    assert own._thread is thread
    assert thread is not None
    assert not thread.daemon
    ban(boss, "198.51.100.8")
    until(lambda: is_out("198.51.100.8"))


def test_a_thread_that_died_is_started_anew_by_the_next_request(own: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    own.begin()
    first = own._thread
    assert first is not None
    with monkeypatch.context() as broken:
        broken.setattr(queries, "last_change", lambda: 1 // 0)
        until(lambda: not first.is_alive())
    assert len(said) == 1
    own.begin()
    assert own._thread is not first
    assert own._runs()


def test_many_first_requests_at_once_start_one_thread(own: Watch) -> None:
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
