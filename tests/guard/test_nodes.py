"""Bans and reached limits with real web processes: what one does, the others know within a second."""

import json
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from programs import Server, run, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

ADMIN = {"ADMIN_USERNAME": "ada", "ADMIN_EMAIL": "ada@example.org", "ADMIN_PASSWORD": "a long enough sentence"}
# The tests come from the loopback, as all proxies here do, and name their clients.
PROXY = {"TRUSTED_PROXIES": "127.0.0.0/8"}
THEIRS = "198.51.100.7"

Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, fresh_database_url: str) -> Iterator[Start]:
    """Web processes over one migrated database with one admin; they share a data directory, so a secret key."""
    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0
    assert run(tmp_path, "createadmin", database_url=fresh_database_url, **ADMIN).returncode == 0
    servers: list[Server] = []

    def start_server(**settings: str) -> Server:
        server = Server(tmp_path, "web", database_url=fresh_database_url, **PROXY, **settings)
        servers.append(server)
        server.wait_until_it_answers()
        return server

    yield start_server
    for server in servers:
        server.clean_up()


def call(server: Server, path: str, body: Any = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
    """(status, JSON) of one call, as from THEIRS unless `headers` say otherwise."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/api/v1/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-Forwarded-For": THEIRS, **headers},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            content = answer.read()
            return answer.status, json.loads(content) if content else None
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def sign_in(server: Server) -> dict[str, str]:
    body = {"username": "ada", "password": ADMIN["ADMIN_PASSWORD"]}
    status, pair = call(server, "auth/login/", body, **{"X-Forwarded-For": "203.0.113.1"})
    assert status == 200, pair
    return {"X-Forwarded-For": "203.0.113.1", "Authorization": f"Bearer {pair['access']}"}


def all_say(servers: list[Server], status: int) -> bool:
    """Whether every process of these servers answers THEIRS so; each call may come to another one."""
    return all(call(server, "tasks/")[0] == status for server in servers for _ in range(8))


def seconds_until(servers: list[Server], status: int) -> float:
    started = time.monotonic()
    until(lambda: all_say(servers, status), seconds=30)
    return time.monotonic() - started


def test_a_ban_reaches_the_other_node_within_a_second(start: Start) -> None:
    nodes = [start(), start()]
    assert all_say(nodes, 401)
    admin = sign_in(nodes[0])
    status, ban = call(nodes[0], "bans/", {"network": "198.51.100.0/24", "reason": "Spam"}, **admin)
    assert status == 201, ban
    # Half a second to notice; the rest is for a busy machine.
    assert seconds_until(nodes, 403) < 3
    status, _ = call(nodes[1], f"bans/{ban['id']}/", method="DELETE", **admin)
    assert status == 204
    assert seconds_until(nodes, 401) < 3


def test_a_new_process_knows_the_bans_before_its_first_answer(start: Start) -> None:
    first = start()
    call(first, "bans/", {"network": THEIRS}, **sign_in(first))
    second = start(WEB_CONCURRENCY="1")
    assert call(second, "tasks/")[0] == 403


def test_an_automatic_ban_spreads_and_is_one_row(start: Start) -> None:
    nodes = [start(WEB_CONCURRENCY="1"), start(WEB_CONCURRENCY="1")]
    for _ in range(100):
        assert call(nodes[0], "tasks/", Authorization="Bearer forged")[0] == 401
    assert call(nodes[0], "tasks/")[0] == 403
    assert seconds_until(nodes, 403) < 3
    _, page = call(nodes[1], "bans/", **sign_in(nodes[1]))
    assert [(ban["network"], ban["automatic"]) for ban in page["data"]] == [(f"{THEIRS}/32", True)]


def test_a_limit_hit_is_recorded_when_the_process_ends(start: Start) -> None:
    node = start(WEB_CONCURRENCY="1", RATE_LIMIT_ANON="1/h")
    assert [call(node, "tasks/")[0] for _ in range(3)] == [401, 429, 429]
    assert node.stop() == 0
    again = start()
    _, page = call(again, "activity-logs/?action=security.rate_limited", **sign_in(again))
    assert [(entry["ip"], entry["changes"]["scope"]) for entry in page["data"]] == [(THEIRS, [None, "anonymous"])]
    assert "Traceback" not in node.out.read_text() + node.err.read_text()


def execute(database_url: str, statement: str) -> None:
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=20)) as connection:
            connection.execute(statement)
        return
    with psycopg.connect(database_url, autocommit=True) as server:
        server.execute(statement)  # type: ignore[call-overload]


def test_without_a_database_bans_stay_in_force(start: Start, fresh_database_url: str) -> None:
    """The table that the thread asks first is out of reach for a while."""
    node = start(WEB_CONCURRENCY="1")
    call(node, "bans/", {"network": THEIRS}, **sign_in(node))
    until(lambda: all_say([node], 403))
    execute(fresh_database_url, "ALTER TABLE activity_counter RENAME TO away")
    until(lambda: "no database" in node.out.read_text())
    assert all_say([node], 403)
    execute(fresh_database_url, "ALTER TABLE away RENAME TO activity_counter")
    assert call(node, "bans/", {"network": "203.0.113.9"}, **sign_in(node))[0] == 201
    until(lambda: call(node, "tasks/", **{"X-Forwarded-For": "203.0.113.9"})[0] == 403)
    assert len([line for line in node.log() if line["message"].startswith("no database")]) == 1
