"""A process works on a limited number of requests at once; a request that waits for something slow blocks no other."""

import io
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction

from duely.core.errors import Unavailable
from duely.database import slots
from duely.database.slots import ConcurrencyLimit, Slots, release_early, without_slot, yield_slot
from duely.database.statements import this_connection
from duely.http.entry import api_first, with_slot
from duely.http.pipeline import MAX_BODY_BYTES
from programs import Server, until
from races import in_background, joined

PATIENCE = 20


@pytest.fixture(autouse=True)
def close_connections_of_slots() -> Iterator[None]:
    yield
    # All at once: one that is given back is the next to be taken.
    for detached in [slots._slots.acquire() for _ in range(settings.WEB_AT_ONCE)]:
        connection.close()
        if detached is not None:
            this_connection().attach(detached)
            connection.close()
        slots._slots.release(None)


def asked(method: str = "GET") -> dict[str, Any]:
    """A request without a body."""
    return {"REQUEST_METHOD": method, "wsgi.input": io.BytesIO()}


class Crowd:
    """Requests in threads, through an application that says who is inside."""

    def __init__(self, *, waits_without_slot: bool = False) -> None:
        self.inside = 0
        self.most = 0
        self.entered = 0
        self.go_on = threading.Event()
        self._lock = threading.Lock()
        self._waits_without_slot = waits_without_slot
        self._application = with_slot(self._answer)
        self.threads: list[threading.Thread] = []

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self.inside += 1
            self.entered += 1
            self.most = max(self.most, self.inside)
        if self._waits_without_slot:
            with without_slot():
                self.go_on.wait(PATIENCE)
        else:
            self.go_on.wait(PATIENCE)
        with self._lock:
            self.inside -= 1
        return [environ["wsgi.input"].read()]

    def come(self, body: Any = b"", length: str | None = None) -> None:
        stream = io.BytesIO(body) if isinstance(body, bytes) else body
        environ = {
            "REQUEST_METHOD": "GET",
            "wsgi.input": stream,
            "CONTENT_LENGTH": str(len(body)) if length is None else length,
        }
        thread = threading.Thread(target=lambda: self._application(environ, None), daemon=True)
        self.threads.append(thread)
        thread.start()

    def leave(self) -> None:
        self.go_on.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


class SlowBody:
    """A body whose sender takes their time."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.sent = threading.Event()

    def __len__(self) -> int:
        return 4

    def read(self, size: int = -1) -> bytes:
        self.begun.set()
        assert self.sent.wait(PATIENCE)
        return b"body"


def test_requests_at_once_are_limited_and_all_are_served() -> None:
    crowd = Crowd()
    for _ in range(10):
        crowd.come()
    until(lambda: crowd.inside == settings.WEB_AT_ONCE)
    assert crowd.entered == settings.WEB_AT_ONCE
    crowd.leave()
    assert (crowd.entered, crowd.most) == (10, settings.WEB_AT_ONCE)


def test_a_request_that_waits_without_slot_lets_others_run() -> None:
    crowd = Crowd(waits_without_slot=True)
    for _ in range(10):
        crowd.come()
    until(lambda: crowd.entered == 10)
    crowd.leave()


def test_waiting_threads_get_slots_in_order() -> None:
    limited, came = Slots(1), []
    limited.acquire()

    def come(number: int) -> None:
        limited.acquire()
        came.append(number)
        limited.release(None)

    threads = []
    for number in range(6):
        threads.append(in_background(lambda number=number: come(number)))
        until(lambda number=number: len(limited._waiting) == number + 1)
    limited.release(None)
    joined(*threads)
    assert came == list(range(6))


def test_an_early_release_frees_one_slot_only() -> None:
    entered: list[int] = []
    go_on = threading.Event()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        release_early()
        release_early()
        with without_slot():
            entered.append(1)
        go_on.wait(PATIENCE)
        return []

    application = with_slot(answer)
    threads = [in_background(lambda: application(asked(), None)) for _ in range(10)]
    until(lambda: len(entered) == 10)
    go_on.set()
    joined(*threads)
    test_requests_at_once_are_limited_and_all_are_served()


@pytest.mark.usefixtures("committed_db")
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has many writers at once")
def test_waiting_writers_block_no_reader() -> None:
    wrote: list[int] = []

    def write(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with transaction.atomic():
            wrote.append(1)
        connection.close()
        return []

    application = with_slot(write)
    with transaction.atomic():
        writers = [in_background(lambda: application(asked("POST"), None)) for _ in range(settings.WEB_AT_ONCE + 2)]
        with_slot(lambda environ, start_response: [b"read"])(asked(), None)
        assert not wrote
    joined(*writers)
    assert len(wrote) == len(writers)


def test_on_sqlite_one_writing_request_runs_at_once() -> None:
    inside: list[str] = []
    go_on = threading.Event()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        inside.append(environ["REQUEST_METHOD"])
        go_on.wait(PATIENCE)
        return []

    application = with_slot(answer)
    threads = [
        in_background(lambda method=method: application(asked(method), None))
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ]
    most = 1 if connection.vendor == "sqlite" else settings.WEB_AT_ONCE
    until(lambda: len(inside) == most)
    if connection.vendor == "sqlite":
        threads.append(in_background(lambda: application(asked(), None)))
        until(lambda: "GET" in inside)
        assert len(inside) == 2
    go_on.set()
    joined(*threads)
    assert len(inside) == len(threads)


def test_a_request_with_a_slow_body_takes_no_slot() -> None:
    crowd, slow = Crowd(), [SlowBody() for _ in range(5)]
    for body in slow:
        crowd.come(body)
    assert all(body.begun.wait(PATIENCE) for body in slow)
    crowd.come()
    until(lambda: crowd.inside == 1)
    for body in slow:
        body.sent.set()
    crowd.leave()
    assert crowd.entered == 6


@pytest.mark.parametrize("length", ["", "-1", "four", "٤", str(MAX_BODY_BYTES + 1), "9" * 5000])
def test_a_body_that_will_be_refused_is_not_read(length: str) -> None:
    crowd, body = Crowd(), SlowBody()
    crowd.come(body, length)
    until(lambda: crowd.inside == 1)
    assert not body.begun.is_set()
    body.sent.set()
    crowd.leave()


def test_without_slot_does_nothing_outside_of_a_request() -> None:
    with without_slot(), without_slot():
        pass


def test_a_slot_is_released_after_an_error() -> None:
    def broken(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with without_slot():
            raise RuntimeError

    application = with_slot(broken)
    for _ in range(settings.WEB_AT_ONCE + 1):
        with pytest.raises(RuntimeError):
            application(asked(), None)


def test_yield_slot_lets_waiting_requests_run() -> None:
    entered: list[int] = []

    def long(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        until(lambda: yield_slot() or len(entered) == 3)
        return []

    application = with_slot(long)
    threads = [
        threading.Thread(target=application, args=(asked(), None), daemon=True) for _ in range(settings.WEB_AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    quick = with_slot(lambda environ, start_response: entered.append(1) or [])
    for _ in range(3):
        quick(asked(), None)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_request_beyond_a_concurrency_limit_is_refused() -> None:
    limit, held, go_on = ConcurrencyLimit(2, wait=0), threading.Semaphore(0), threading.Event()

    def hold() -> None:
        with limit.slot():
            held.release()
            go_on.wait(PATIENCE)

    threads = [threading.Thread(target=hold, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert held.acquire(timeout=PATIENCE)
    with pytest.raises(Unavailable), limit.slot():
        pass
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    with limit.slot(), limit.slot():
        pass


def test_a_concurrency_limit_is_released_after_an_error() -> None:
    limit, entered, go_on = ConcurrencyLimit(1, wait=PATIENCE), threading.Event(), threading.Event()

    def hold() -> None:
        with suppress(RuntimeError), limit.slot():
            entered.set()
            go_on.wait(PATIENCE)
            raise RuntimeError

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert entered.wait(PATIENCE)
    waiting = with_slot(lambda environ, start_response: _within(limit))
    waiters = [
        threading.Thread(target=waiting, args=(asked(), None), daemon=True) for _ in range(settings.WEB_AT_ONCE + 1)
    ]
    for waiter in waiters:
        waiter.start()
    # They wait without a slot, so others get theirs.
    crowd = Crowd()
    crowd.come()
    until(lambda: crowd.inside == 1)
    crowd.leave()
    go_on.set()
    for waiter in waiters:
        waiter.join(PATIENCE)
        assert not waiter.is_alive()


def _within(limit: ConcurrencyLimit) -> Iterable[bytes]:
    with limit.slot():
        return []


def connected() -> bool:
    return connection.connection is not None


@pytest.mark.usefixtures("committed_db")
@pytest.mark.parametrize("in_transaction", [True, False])
def test_a_request_without_slot_keeps_no_connection(in_transaction: bool) -> None:
    seen: list[bool] = []

    def wait() -> None:
        with without_slot():
            seen.append(connected())

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        connection.ensure_connection()
        if in_transaction:
            with transaction.atomic():
                wait()
        else:
            wait()
        return []

    with_slot(answer)(asked(), None)
    assert seen == [in_transaction or connection.vendor == "sqlite"]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="on SQLite each thread has its own")
@pytest.mark.usefixtures("committed_db")
def test_a_slot_passes_its_connection_to_the_next_request() -> None:
    seen: list[object] = []

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        connection.ensure_connection()
        seen.append(connection.connection)
        return []

    application = with_slot(answer)
    threads = [threading.Thread(target=application, args=(asked(), None)) for _ in range(settings.WEB_AT_ONCE * 2)]
    for thread in threads:
        thread.start()
        thread.join(PATIENCE)
    assert seen[: settings.WEB_AT_ONCE] == seen[settings.WEB_AT_ONCE :]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(180)
def test_clients_that_never_finish_their_bodies_block_no_others(tmp_path: Path, fresh_database_url: str) -> None:
    # Fewer than one process has threads, as it may happen that one gets them all; far more than work at once.
    head = b"POST /api/v1/auth/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    server = Server(tmp_path, "serve", database_url=fresh_database_url)
    clients: list[socket.socket] = []
    try:
        server.wait_until_it_answers()
        for number in range(30):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            client.sendall(
                head + (b"Content-Length: 100\r\n\r\n{" if number % 2 else b"Transfer-Encoding: chunked\r\n\r\n1\r\n")
            )
            clients.append(client)
        for _ in range(20):
            assert server.get("/readyz") == 200
    finally:
        for client in clients:
            with closing(client):
                pass
        server.stop()
        server.clean_up()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="writers on SQLite have a queue of their own")
@pytest.mark.parametrize("path, kind", [("/api/v1/tasks/", "application/problem+json"), ("/admin/", "text/plain")])
def test_a_request_without_a_slot_in_time_gets_503(monkeypatch: pytest.MonkeyPatch, path: str, kind: str) -> None:
    application = with_slot(api_first(get_wsgi_application()))
    monkeypatch.setattr(slots, "LONGEST_WAIT_SECONDS", 0.1)
    taken = [slots._slots.acquire() for _ in range(settings.WEB_AT_ONCE)]
    answers: list[tuple[str, dict[str, str]]] = []
    environ = {
        **asked(),
        "PATH_INFO": path,
        "REMOTE_ADDR": "192.0.2.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost:8000",
        "wsgi.url_scheme": "http",
    }
    try:
        application(environ, lambda status, headers: answers.append((status, dict(headers))))
    finally:
        for detached in taken:
            slots._slots.release(detached)
    [(status, headers)] = answers
    assert (status, headers["Content-Type"].partition(";")[0]) == ("503 Service Unavailable", kind)
    assert headers.get("Retry-After") == "1"


def test_a_slot_that_comes_just_in_time_is_taken() -> None:
    limited = Slots(1)
    limited.acquire()
    with pytest.raises(Unavailable):
        limited.acquire(0.05)
    assert not limited._waiting
    waiting = in_background(lambda: limited.release(limited.acquire(PATIENCE)))
    until(lambda: len(limited._waiting) == 1)
    limited.release(None)
    joined(waiting)
    limited.acquire(0.0)
