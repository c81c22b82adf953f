"""When PostgreSQL hangs, every kind of statement ends in time; requests succeed again as soon as it answers."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from django.db import OperationalError, connection, connections
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker

import postgres_server
from duely.config.database import from_url
from duely.database.postgresql import deadlines
from duely.database.postgresql.deadlines import watch
from postgres_server import hanging
from programs import Server, until

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="of PostgreSQL's backend")

PASSWORD = "correct horse battery"
LIMIT_SECONDS = 0.5
PATIENCE_SECONDS = 30
"""Far more than any deadline: a statement that has not ended by then has none."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that only these tests use."""
    process, url = postgres_server.start()
    yield url
    postgres_server.stop(process)


@pytest.fixture
def database(server: str, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker) -> Iterator[Any]:
    """A connection to it, with a short limit, and a table `note` of one row."""
    monkeypatch.setattr("duely.database.postgresql.base.ANSWER_SECONDS", LIMIT_SECONDS)
    monkeypatch.setattr("duely.database.postgresql.base.LEAST_SECONDS", LIMIT_SECONDS)
    options = from_url(server.format(database="postgres"), threads=1)
    options["OPTIONS"].pop("pool")
    connections.settings["own"] = ConnectionHandler({"default": options}).settings["default"]
    with django_db_blocker.unblock():
        try:
            own = connections["own"]
            with own.cursor() as cursor:
                cursor.execute("DROP TABLE IF EXISTS note; CREATE TABLE note AS SELECT 1 AS id")
            yield own
        finally:
            until(lambda: not watch.is_hanging)
            connections["own"].close()
            del connections["own"], connections.settings["own"]


def in_time(work: Callable[[], Any]) -> Any:
    """Its result, from a thread, so that a test fails where a statement waits forever."""
    done: Future[Any] = Future()

    def act() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed on
            done.set_exception(error)

    threading.Thread(target=act, daemon=True).start()
    return done.result(PATIENCE_SECONDS)


def execute(database: Any) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM note")


def execute_many(database: Any) -> None:
    with database.cursor() as cursor:
        cursor.executemany("UPDATE note SET id = %s", [(1,), (1,)])


def execute_prepared(database: Any) -> None:
    database.prepared_rows("SELECT id FROM note WHERE id = %s", (1,))


def prepare(database: Any) -> None:
    database.prepared_rows("SELECT id + 1 FROM note WHERE id = %s", (1,))


def fetch(database: Any) -> None:
    """The next rows of a cursor of the server's."""
    database.rows_to_come.fetchmany(1)


def begin(database: Any) -> None:
    database._start_transaction_under_autocommit()


def commit(database: Any) -> None:
    database._commit()


def roll_back(database: Any) -> None:
    database._rollback()


@pytest.mark.parametrize(
    "statement", [execute, execute_many, execute_prepared, prepare, fetch, begin, commit, roll_back]
)
def test_a_statement_ends_though_the_server_hangs(database: Any, server: str, statement: Callable[[Any], None]) -> None:
    database.inc_thread_sharing()
    database.prepared_rows("SELECT id FROM note WHERE id = %s", (1,))
    if statement in (commit, roll_back, fetch):
        begin(database)
    if statement is fetch:
        database.rows_to_come = database.create_cursor("rows")
        database.rows_to_come.execute("SELECT generate_series(1, 1000)")

    with hanging(server), pytest.raises((OperationalError, psycopg.OperationalError)):
        in_time(lambda: statement(database))

    database.close()
    if statement is fetch:
        database.rows_to_come.close()
    until(lambda: not watch.is_hanging)
    assert database.prepared_rows("SELECT id FROM note WHERE id = %s", (1,)) == [(1,)]


def test_while_the_server_hangs_others_fail_at_once(database: Any, server: str) -> None:
    database.inc_thread_sharing()
    others = connections.create_connection("own")
    others.inc_thread_sharing()
    execute(others)
    with hanging(server):
        with pytest.raises(OperationalError):
            in_time(lambda: execute(database))
        assert watch.is_hanging
        sent = others.connection.statement
        with pytest.raises(OperationalError, match="does not answer"):
            in_time(lambda: execute(others))
        assert sent.started_at == 0.0
        with pytest.raises(OperationalError, match="does not answer"):
            in_time(connections.create_connection("own").ensure_connection)
    until(lambda: not watch.is_hanging)
    execute(others)  # the same connection as before
    others.close()


def test_a_server_counts_as_hanging_before_a_statement_is_aborted(
    database: Any, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the request whose statement it was would wait for another connection, too."""
    seen: list[bool] = []
    abort = deadlines.RunningStatement.abort

    def note_and_abort(statement: deadlines.RunningStatement, started_at: float) -> bool:
        if statement is own:
            seen.append(watch.is_hanging)
        return abort(statement, started_at)

    own = database.connection.statement
    monkeypatch.setattr(deadlines.RunningStatement, "abort", note_and_abort)
    database.inc_thread_sharing()
    with hanging(server), pytest.raises(OperationalError):
        in_time(lambda: execute(database))
    assert seen
    assert all(seen)


def test_a_server_that_hangs_is_noticed_while_connecting(database: Any, server: str) -> None:
    with hanging(server):
        assert not deadlines.answers(watch._parameters)
        with pytest.raises(OperationalError, match="timeout"):
            in_time(connections.create_connection("own").ensure_connection)
    assert deadlines.answers(watch._parameters)
    assert deadlines.answers({**watch._parameters, "dbname": "nothing"})


def test_a_request_that_has_waited_leaves_its_statements_less_time(database: Any) -> None:
    database.close()
    database.waited_seconds = 100.0
    database.ensure_connection()
    assert database.connection.statement.limit_seconds == LIMIT_SECONDS  # the least


def test_migrations_have_no_deadline(database: Any) -> None:
    database.be_patient()
    with database.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SELECT pg_sleep(%s)", [LIMIT_SECONDS * 3])
    assert not watch.is_hanging


def test_a_statement_that_has_just_ended_is_not_aborted(database: Any) -> None:
    statement = database.connection.statement
    assert not statement.abort(statement.last_started_at)
    execute(database)
    database.close()
    statement.started_at = 1.0
    assert not statement.abort(1.0)
    statement.end()


def test_others_go_on_when_one_connection_alone_hangs(
    database: Any, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "OTHERS_STARTED_LATER_SECONDS", 0.1)
    database.inc_thread_sharing()
    others = connections.create_connection("own")
    others.ensure_connection()
    database.connection.statement.limit_seconds = others.connection.statement.limit_seconds = 3.0
    backend = database.connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(execute, database)
            while not waiting.done():
                execute(others)
            with pytest.raises(OperationalError):
                waiting.result()
        assert not watch.is_hanging
        execute(others)
    finally:
        os.kill(backend, signal.SIGCONT)
        others.close()


def test_a_forked_process_watches_its_own_statements(database: Any) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write, b"%d" % (watch._is_running or len(watch._statements)))
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == b"0"
    os.close(read)
    os.close(write)


@pytest.fixture
def own_database(server: str) -> Iterator[str]:
    with psycopg.connect(server.format(database="postgres"), autocommit=True) as outside:
        outside.execute("CREATE DATABASE duely")
    yield server.format(database="duely")
    with psycopg.connect(server.format(database="postgres"), autocommit=True) as outside:
        outside.execute("DROP DATABASE duely WITH (FORCE)")


@contextmanager
def serving(directory: Path, database_url: str) -> Iterator[Server]:
    admin = {"ADMIN_USERNAME": "root", "ADMIN_EMAIL": "root@example.org", "ADMIN_PASSWORD": PASSWORD}
    server = Server(
        directory, "serve", database_url=database_url, DATA_DIR=str(directory), EMAIL_URL="console:", **admin
    )
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.clean_up()


class Client:
    """Calls the API of a server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._headers = {"Content-Type": "application/json"}
        answer = self.call("POST", "auth/login/", {"username": "root", "password": PASSWORD})
        self._headers["Authorization"] = f"Bearer {answer.body['access']}"

    def call(self, method: str, path: str, body: Any = None) -> "Answer":
        called = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
        with closing(called):
            called.request(method, f"/api/v1/{path}", json.dumps(body), self._headers)
            response = called.getresponse()
            return Answer(response.status, json.loads(response.read()), response.getheader("Retry-After"))

    def write(self, number: int) -> "Answer":
        return self.call("POST", "tasks/", {"title": f"Task {number}"})


class Answer(NamedTuple):
    status: int
    body: Any
    retry_after: str | None


@pytest.mark.process
def test_requests_get_503_while_postgresql_hangs_and_nothing_is_lost(
    tmp_path: Path, own_database: str, server: str
) -> None:
    with serving(tmp_path, own_database) as duely, ThreadPoolExecutor(24) as pool:
        client = Client(duely.port)
        assert client.write(0).status == 201

        with hanging(server):
            answers = list(pool.map(client.write, range(1, 49)))  # all of them, before the server goes on

        assert {(answer.status, answer.body["code"], answer.retry_after) for answer in answers} == {
            (503, "unavailable", "1")
        }
        until(lambda: client.write(49).status == 201)
        assert [client.write(number).status for number in range(50, 60)] == [201] * 10
        titles = [task["title"] for task in client.call("GET", "tasks/?limit=100").body["data"]]
        assert {"Task 0", *(f"Task {number}" for number in range(49, 60))} <= set(titles)
        assert max(titles.count(f"Task {number}") for number in range(1, 49)) <= 1
        with psycopg.connect(own_database, autocommit=True) as outside:
            done = "SELECT count(*) FROM jobs_job WHERE state = 'done'"
            before = outside.execute(done).fetchone()
            until(lambda: outside.execute(done).fetchone() != before)
        assert duely.process.poll() is None
