"""DATABASE_URL with several servers: Duely goes to the one that writes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from psycopg import sql

import postgres_server
from database.wire import Wire
from programs import Server, free_port, run

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no servers"),
]
READS_ONLY = "default_transaction_read_only=on"
ADMIN = {"ADMIN_USERNAME": "root", "ADMIN_EMAIL": "root@example.org", "ADMIN_PASSWORD": "correct horse battery"}


@pytest.fixture
def port(fresh_database_url: str) -> Iterator[int]:
    """Where the server that writes is."""
    with Wire(socket_of(fresh_database_url)) as wire:
        yield wire.port


def socket_of(url: str) -> str:
    return f"{url.partition('?host=')[2]}/.s.PGSQL.5432"


@contextmanager
def one_that_reads_only() -> Iterator[int]:
    """The port of another server, of which a standby has what matters: it takes connections, and no writes."""
    with ExitStack() as stack:
        process, url = postgres_server.start((*postgres_server.SETTINGS, READS_ONLY))
        stack.callback(postgres_server.stop, process)
        yield stack.enter_context(Wire(socket_of(url))).port


def served(directory: Path, url: str) -> None:
    server = Server(directory, "serve", database_url=url, DATA_DIR=str(directory), WEB_CONCURRENCY="1", **ADMIN)
    try:
        server.wait_until_it_answers()
        assert server.get("/readyz") == 200
        found = run(directory, "doctor", database_url=url, DATA_DIR=str(directory))
        assert found.returncode == 0, found.stdout
        assert server.stop() == 0
    finally:
        server.clean_up()


def create(port: int, name: str) -> None:
    with psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", autocommit=True) as server:
        server.execute("SET default_transaction_read_only = off")
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def test_a_server_that_is_down_is_passed_by(tmp_path: Path, fresh_database_url: str, port: int) -> None:
    served(tmp_path, f"postgres://postgres@127.0.0.1:{free_port()},127.0.0.1:{port}/{name_of(fresh_database_url)}")


@pytest.mark.parametrize("wanted", ["", "?target_session_attrs=read-write"])
def test_a_server_that_only_reads_is_passed_by(tmp_path: Path, fresh_database_url: str, port: int, wanted: str) -> None:
    with one_that_reads_only() as other:
        name = name_of(fresh_database_url)
        create(other, name)
        served(tmp_path, f"postgres://postgres@127.0.0.1:{other},127.0.0.1:{port}/{name}{wanted}")


def test_without_one_that_writes_a_sentence_says_so(tmp_path: Path) -> None:
    with one_that_reads_only() as other:
        servers = f"127.0.0.1:{other},127.0.0.1:{free_port()}"
        ended = run(tmp_path, "migrate", database_url=f"postgres://postgres@{servers}/postgres", DATA_DIR=str(tmp_path))
    assert ended.returncode == 3
    assert "The database cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr
