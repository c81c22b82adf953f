"""Behind PgBouncer: one that keeps sessions works as it is, any other is refused at the start."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from pgbouncer import MISSING, PROGRAM, pooling
from programs import Server, free_port, run

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a pooler of PostgreSQL's"),
    pytest.mark.skipif(PROGRAM is None, reason=MISSING),
]
ADMIN = {"ADMIN_USERNAME": "root", "ADMIN_EMAIL": "root@example.org", "ADMIN_PASSWORD": "correct horse battery"}
DATABASE = 3
"""The exit code of a database that cannot be used."""


@pytest.fixture(params=["transaction", "statement"])
def losing(fresh_database_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with pooling(fresh_database_url, request.param) as url:
        yield url


@pytest.mark.parametrize("command", ["migrate", "serve", "web", "worker", "scheduler"])
def test_a_pooler_that_does_not_keep_sessions_is_refused(tmp_path: Path, losing: str, command: str) -> None:
    ended = run(tmp_path, command, database_url=losing, DATA_DIR=str(tmp_path), PORT=str(free_port()))
    assert ended.returncode == DATABASE, ended.stderr
    assert "does not keep sessions" in ended.stderr
    assert "pool_mode = session" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_doctor_names_a_pooler_that_does_not_keep_sessions(tmp_path: Path, losing: str) -> None:
    ended = run(tmp_path, "doctor", database_url=losing, DATA_DIR=str(tmp_path))
    assert ended.returncode == 1
    assert "wrong    Pooler: it does not keep sessions" in ended.stdout


def test_everything_works_behind_a_pooler_that_keeps_sessions(tmp_path: Path, fresh_database_url: str) -> None:
    with pooling(fresh_database_url, "session") as url:
        server = Server(tmp_path, "serve", database_url=url, DATA_DIR=str(tmp_path), WEB_CONCURRENCY="1", **ADMIN)
        try:
            server.wait_until_it_answers()
            assert server.get("/readyz") == 200
            found = run(tmp_path, "doctor", database_url=url, DATA_DIR=str(tmp_path)).stdout
            assert server.stop() == 0
        finally:
            server.clean_up()
    assert "ok       Pooler: it keeps sessions" in found
    assert "Session:" not in found  # all of Duely's settings hold
    assert "wrong" not in found


@pytest.mark.usefixtures("committed_db")
def test_the_doctor_names_settings_that_do_not_hold() -> None:
    """As behind a proxy that drops what clients set: here the server's own setting is looked at."""
    from duely.cli.doctor import _session_settings

    settings = connection.settings_dict["OPTIONS"]["session_settings"]
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '7s'")
    findings = list(_session_settings())
    connection.close()
    assert [finding.seen for finding in findings] == [f"lock_timeout is 7s and not {settings['lock_timeout']}"]
    assert "ALTER ROLE" in findings[0].advice


def test_without_a_pooler_nothing_is_said(tmp_path: Path, fresh_database_url: str) -> None:
    run(tmp_path, "migrate", database_url=fresh_database_url, DATA_DIR=str(tmp_path))
    assert "Pooler" not in run(tmp_path, "doctor", database_url=fresh_database_url, DATA_DIR=str(tmp_path)).stdout
