"""A PostgreSQL server that has become a standby: it answers what is read, and refuses what is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from psycopg import sql

from cast import PASSWORD, Api, alice
from duely.http import health
from duely.http.health import System
from programs import Server, run, until

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no servers")


END_SESSIONS = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"


@contextmanager
def read_only(name: str, **address: Any) -> Iterator[None]:
    """Let new sessions of this database only read, as those of a standby, and end the old ones."""
    connection.close()
    setting = sql.SQL("ALTER DATABASE {} {} default_transaction_read_only {}")
    database = sql.Identifier(name)
    with psycopg.connect(**{**address, "dbname": "postgres"}, autocommit=True) as outside:
        outside.execute(setting.format(database, sql.SQL("SET"), sql.SQL("= on")))
        outside.execute(END_SESSIONS, [name])
        try:
            yield
        finally:
            outside.execute(setting.format(database, sql.SQL("RESET"), sql.SQL("")))
            connection.close()


@pytest.fixture
def me(committed_db: None) -> Iterator[Api]:
    yield Api(alice())
    settings = connection.get_connection_params()
    connection.close()
    # The pool may hold more sessions that only read.
    with psycopg.connect(host=settings["host"], user=settings["user"], dbname="postgres", autocommit=True) as outside:
        outside.execute(END_SESSIONS, [settings["dbname"]])


@pytest.fixture
def standby(me: Api) -> Iterator[None]:
    settings = connection.get_connection_params()
    with read_only(settings["dbname"], host=settings["host"], user=settings["user"]):
        yield


WRITES = {
    "a sign-in": lambda me: Api().post("auth/login/", {"username": "alice", "password": PASSWORD}),
    "a new account": lambda me: Api().post(
        "auth/signup/", {"username": "carol", "email": "carol@example.org", "password": PASSWORD}
    ),
    "a new task": lambda me: me.post("tasks/", {"title": "Milk"}),
    "a new task with a key": lambda me: me.post("tasks/", {"title": "Milk"}, Idempotency_Key="one"),
    "an edit": lambda me: me.patch("profile/", {"time_zone": "Europe/Berlin"}),
    "a deletion": lambda me: me.call("DELETE", "tasks/?confirm=true"),
}


@pytest.mark.usefixtures("standby")
@pytest.mark.parametrize("write", WRITES)
def test_a_write_to_a_standby_is_503(write: str, me: Api) -> None:
    answer = WRITES[write](me)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer["Retry-After"] == "1"


@pytest.mark.usefixtures("standby")
def test_a_standby_still_answers_what_is_read(me: Api) -> None:
    assert me.get("tasks/").status_code == 200


@pytest.mark.usefixtures("standby")
def test_a_standby_is_not_ready() -> None:
    checks = System().check()

    assert checks == {"database": "read-only", "migrations": "ok", "secret_key": "ok"}
    assert not health.is_good(checks)


@pytest.mark.usefixtures("standby")
def test_no_session_that_refused_a_write_is_used_again(me: Api) -> None:
    me.get("tasks/")
    before = session()
    with pytest.raises(OperationalError), transaction.atomic():
        connection.cursor().execute("DELETE FROM jobs_job")
    connection.close()

    assert session() != before


def session() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [(number,)] = cursor.fetchall()
    return int(number)


def test_writes_work_again_when_the_server_takes_them(me: Api) -> None:
    """Sessions keep the setting they began with, so each that refuses must be replaced."""
    settings = connection.get_connection_params()
    with read_only(settings["dbname"], host=settings["host"], user=settings["user"]):
        assert me.post("tasks/", {"title": "Milk"}).status_code == 503

    until(lambda: me.post("tasks/", {"title": "Milk"}).status_code == 201, seconds=10)
    assert health.is_good(System().check())


@pytest.mark.process
def test_a_server_process_outlives_a_change_of_roles(tmp_path: Path, fresh_database_url: str) -> None:
    address, _, host = fresh_database_url.partition("?host=")
    name = address.rpartition("/")[2]
    options = {"DATA_DIR": str(tmp_path), "WEB_CONCURRENCY": "1"}
    assert run(tmp_path, "migrate", database_url=fresh_database_url, **options).returncode == 0
    server = Server(tmp_path, "web", database_url=fresh_database_url, **options)
    try:
        server.wait_until_it_answers()
        until(lambda: server.get("/readyz") == 200)
        with read_only(name, host=host, user="postgres"):
            until(lambda: server.get("/readyz") == 503)
            doctor = run(tmp_path, "doctor", database_url=fresh_database_url, **options)
        until(lambda: server.get("/readyz") == 200)
    finally:
        server.clean_up()
    assert doctor.returncode != 0
    assert "the server is read-only" in doctor.stdout
