"""Health as load balancers and container managers ask for it, of a real process."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from duely.cli.web import SAME_SIGNAL_SECONDS
from programs import Server, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture
def server(tmp_path: Path, fresh_database_url: str) -> Iterator[Server]:
    """One whose Redis is away, with the usual limit for strangers."""
    made = Server(
        tmp_path,
        "serve",
        database_url=fresh_database_url,
        REDIS_URL="redis://127.0.0.1:1/0",
        RATE_LIMIT_ANON="1/hour",
        DRAIN_SECONDS="60",
    )
    try:
        made.wait_until_it_answers()
        yield made
    finally:
        made.clean_up()


def answer(server: Server, path: str, host: str | None = "Host: localhost\r\n", connection: str = "close") -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as opened:
        opened.sendall(f"GET {path} HTTP/1.1\r\n{host or ''}Connection: {connection}\r\n\r\n".encode())
        got = b""
        while more := opened.recv(65536):
            got += more
    return got


HOSTS = [None, "Host:\r\n", "Host: 10.1.2.3:8000\r\n", "Host: unknown.example\r\n", "Host: a b\r\n"]


def test_health_is_answered_by_any_name_without_a_limit_or_a_line_in_the_log(server: Server) -> None:
    for path in ("/healthz", "/readyz"):
        for host in HOSTS:
            assert answer(server, path, host).startswith(b"HTTP/1.1 200 OK"), (path, host)

    assert b'"database": "ok"' in answer(server, "/readyz")
    until(lambda: answer(server, "/api/v1/tasks/").startswith(b"HTTP/1.1 429 "))
    assert {line["path"] for line in server.log() if line["message"] == "request"} == {"/api/v1/tasks/"}


def test_a_server_says_that_it_stops_and_goes_on_until_it_is_told_again(server: Server) -> None:
    assert b"connection: close" not in answer_kept(server, "/")
    server.process.send_signal(signal.SIGTERM)

    until(lambda: answer(server, "/readyz").startswith(b"HTTP/1.1 503 "))
    for path in ("/", "/healthz", "/api/v1/auth/login/", "/static/duely/none.css"):
        assert b"connection: close" in answer_kept(server, path), path
    body = json.loads(answer(server, "/readyz").partition(b"\r\n\r\n")[2])
    assert body["checks"]["server"] == "stopping"

    # Sooner it would be the same signal, which service managers tell each process of a service.
    time.sleep(SAME_SIGNAL_SECONDS + 0.1)
    assert server.process.poll() is None
    assert server.stop() == 0


def answer_kept(server: Server, path: str) -> bytes:
    """The head of an answer to a client that would keep the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as opened:
        opened.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got:
            more = opened.recv(65536)
            assert more, got
            got += more
    return got.partition(b"\r\n\r\n")[0].lower()
