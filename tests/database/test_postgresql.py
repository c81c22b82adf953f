"""Connections to PostgreSQL: closed by the server, detached from threads, and their prepared statements."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import NotSupportedError, OperationalError, ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext

from cast import Api, alice
from database.wire import Wire
from duely.database import compiled
from duely.database.postgresql.base import PreparedStatements, is_alive
from duely.database.postgresql.deadlines import Connection
from programs import until
from races import together

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="of PostgreSQL's backend")
AT_ONCE = 5


def kill_all() -> None:
    """Close every connection to this database, from outside."""
    with psycopg.connect(**_address(), autocommit=True) as outside:
        outside.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _address() -> dict[str, str]:
    params = connection.get_connection_params()
    return {name: params[name] for name in ("host", "dbname", "user")}


@pytest.fixture
def me(committed_db: None) -> Api:
    return Api(alice())


def test_requests_succeed_after_all_connections_were_closed(me: Api) -> None:
    def ask() -> int:
        return me.get("tasks/").status_code

    for _ in range(3):
        assert together(*[ask] * AT_ONCE) == [200] * AT_ONCE
        kill_all()
    assert together(*[ask] * AT_ONCE) == [200] * AT_ONCE


@pytest.mark.parametrize("method, status", [("get", 200), ("post", 201)])
def test_a_connection_closed_before_its_first_statement_is_replaced(me: Api, method: str, status: int) -> None:
    body = [{"title": "x"}] if method == "post" else []
    assert getattr(me, method)("tasks/", *body).status_code == status
    connection.ensure_connection()
    kill_all()
    assert getattr(me, method)("tasks/", *body).status_code == status


def test_a_working_connection_is_not_checked_with_a_statement(me: Api) -> None:
    me.get("tasks/")
    connection.close()
    with CaptureQueriesContext(connection) as queries:
        assert me.get("tasks/").status_code == 200
    assert len(queries) == 2


def test_within_a_transaction_no_statement_is_repeated(me: Api) -> None:
    """The effects of its earlier statements are lost."""
    from duely.accounts import queries
    from duely.core.clock import now

    with pytest.raises(OperationalError), transaction.atomic():
        connection.ensure_connection()
        kill_all()
        queries.caller(me.user.id, me.user.id, now())
    connection.close()


def in_another_thread(work: Callable[[], Any]) -> Any:
    def done() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return together(done)[0]


def backend_pid() -> int:
    return int(compiled.read_rows("SELECT pg_backend_pid()", ())[0][0])


def test_a_detached_connection_keeps_its_prepared_statements(me: Api) -> None:
    pid = backend_pid()
    detached = connection.detach()
    assert connection.connection is None

    def go_on() -> tuple[int, int]:
        connection.attach(detached)
        [(prepared,)] = compiled.read_rows(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement ~ %s", ("backend_pid",)
        )
        with transaction.atomic():
            return backend_pid(), prepared

    assert in_another_thread(go_on) == (pid, 1)


def test_a_connection_that_is_not_clean_is_not_detached(me: Api) -> None:
    connection.close()
    assert connection.detach() is None
    with transaction.atomic():
        connection.ensure_connection()
        assert connection.detach() is None
        assert connection.connection is not None
    with pytest.raises(ProgrammingError):
        compiled.read_rows("SELECT nothing", ())
    assert connection.detach() is None
    assert connection.connection is None


def test_a_connection_closed_while_detached_is_not_attached(me: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duely.database.postgresql.base.TRUSTED_SECONDS", -1)
    backend_pid()
    detached = connection.detach()
    kill_all()
    until(lambda: not is_alive(detached.connection))
    connection.attach(detached)
    assert connection.connection is None
    assert backend_pid()


def test_an_old_connection_returns_to_the_pool(me: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duely.database.postgresql.base.MAX_OUTSIDE_POOL_SECONDS", -1)
    backend_pid()
    assert connection.detach() is None
    assert connection.connection is None


def test_prepared_statements_outlive_a_rollback_and_are_limited(me: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = "SELECT count(*) FROM pg_prepared_statements WHERE name ~ '^duely'"
    monkeypatch.setattr("duely.database.postgresql.base.MAX_PREPARED", 3)
    with pytest.raises(OperationalError), transaction.atomic():
        for number in range(5):
            assert compiled.read_rows(f"SELECT {number} + %s::int", (1,)) == [(number + 1,)]
        raise OperationalError
    assert compiled.read_rows(kept, ()) == [(3,)]
    assert compiled.read_rows("SELECT 0 + %s::int", (1,)) == [(1,)]


def test_a_percent_sign_is_written_twice(me: Api) -> None:
    assert compiled.read_rows("SELECT '5 %%' || %s::text", ("s",)) == [("5 %s",)]


def test_a_stale_prepared_statement_is_prepared_again(me: Api) -> None:
    def execute(sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    execute("CREATE TEMPORARY TABLE changing (a int)")
    execute("INSERT INTO changing VALUES (1)")
    ask = "SELECT a FROM changing WHERE a = %s"
    assert compiled.read_rows(ask, (1,)) == [(1,)]
    execute("ALTER TABLE changing ALTER a TYPE text USING a || '!'")
    with pytest.raises(NotSupportedError), transaction.atomic():
        compiled.read_rows("SELECT a FROM changing", ())
        execute("ALTER TABLE changing ADD b int, ALTER a TYPE varchar(9)")
        compiled.read_rows("SELECT a FROM changing", ())
    execute("ALTER TABLE changing ALTER a TYPE int USING 2")
    assert compiled.read_rows("SELECT a FROM changing", ()) == [(2,)]
    assert compiled.read_rows(ask, (2,)) == [(2,)]
    execute("DEALLOCATE ALL")
    assert compiled.read_rows(ask, (2,)) == [(2,)]


def test_a_result_does_not_stay_in_memory(me: Api) -> None:
    compiled.read_rows("SELECT repeat('x', 1000000)", ())
    assert connection.connection.prepared_statements._transformer.pgresult is None


def test_a_name_of_a_statement_never_means_two_statements(me: Api) -> None:
    """Two clients that prepare in another order: a pooler may give the connection of one to the other."""
    params = connection.get_connection_params()
    params |= {"host": "127.0.0.1", "cursor_factory": psycopg.Cursor}
    statements = [("SELECT 1 + %s::int", (1,)), ("SELECT pg_typeof(%s)", (1,)), ("SELECT pg_typeof(%s)", (2**40,))]
    with Wire(f"{_address()['host']}/.s.PGSQL.5432") as wire:
        for order in (statements, statements[::-1]):
            with Connection.connect(**{**params, "port": wire.port}) as client:
                prepared_statements = PreparedStatements(client)
                for sql, values in order:
                    prepared_statements.execute(sql, values)
    meanings: dict[bytes, set[tuple[bytes, bytes]]] = {}
    for statement in wire.parsed:
        if statement.name:
            meanings.setdefault(statement.name, set()).add((statement.text, statement.types))
    assert len(meanings) == len(statements)
    assert {len(meaning) for meaning in meanings.values()} == {1}
    assert len({parsed.client for parsed in wire.parsed}) == 2


def test_no_parameter_is_sent_that_poolers_refuse(me: Api) -> None:
    """PgBouncer lets these pass, and refuses every other one, unless it is told to ignore it."""
    params = {**connection.get_connection_params(), "host": "127.0.0.1"}
    with Wire(f"{_address()['host']}/.s.PGSQL.5432") as wire:
        Connection.connect(**{**params, "port": wire.port}).close()
    words = wire.startups[-1].split(b"\0")
    assert set(words[0:-2:2]) <= {b"user", b"database", b"application_name", b"client_encoding"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        assert cursor.fetchone() == ("5s", "1s")


def test_a_statement_whose_columns_changed_is_prepared_under_another_name(me: Api) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE note AS SELECT 1 AS id")
        for number in range(3):
            cursor.execute(f"ALTER TABLE note ADD column_{number} int")
            rows = compiled.read_rows("SELECT * FROM note WHERE id = %s", (1,))
            assert len(rows[0]) == number + 2
    connection.close()
