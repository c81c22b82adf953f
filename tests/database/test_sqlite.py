"""Writers of an SQLite file queue, and no fault leaves the file locked."""

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from pytest_django import DjangoDbBlocker

from cast import Api, alice
from duely.database.sqlite import writer_queue
from duely.database.sqlite.base import DatabaseWrapper
from programs import until
from races import in_background, joined

PATIENCE = 20
SETTINGS = {
    "ENGINE": "duely.database.sqlite",
    "AUTOCOMMIT": True,
    "ATOMIC_REQUESTS": False,
    "CONN_HEALTH_CHECKS": False,
    "CONN_MAX_AGE": None,
    "TIME_ZONE": None,
    "TEST": {},
}
WRITER = """
import sys, time
import django
from django.conf import settings
settings.configure(USE_TZ=True)
django.setup()
from duely.database.sqlite.base import DatabaseWrapper
from threading import Thread

def connect():
    return DatabaseWrapper({**%(settings)r, "NAME": sys.argv[1], "OPTIONS": %(options)r}, "default")
"""
"""The first lines of the programs of other processes."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    database = tmp_path / "a.sqlite3"
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, text TEXT)")
    return database


def options(seconds: float = PATIENCE) -> dict[str, Any]:
    return {"timeout": seconds, "transaction_mode": "IMMEDIATE"}


@pytest.fixture
def connect(path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Callable[..., DatabaseWrapper]]:
    """Makes connections. Those of other threads may be closed from here."""
    databases: list[DatabaseWrapper] = []

    def new(seconds: float = PATIENCE, name: str | None = None) -> DatabaseWrapper:
        database = DatabaseWrapper({**SETTINGS, "NAME": name or str(path), "OPTIONS": options(seconds)}, "default")
        database.inc_thread_sharing()
        databases.append(database)
        return database

    with django_db_blocker.unblock():
        yield new
        for database in databases:
            database.close()


def begin(database: DatabaseWrapper) -> None:
    database.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)


def end(database: DatabaseWrapper) -> None:
    database.commit()
    database.set_autocommit(True)


def write(database: DatabaseWrapper, text: str) -> None:
    begin(database)
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO entry (text) VALUES (%s)", [text])
    end(database)


def texts(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as opened:
        return [text for (text,) in opened.execute("SELECT text FROM entry ORDER BY id")]


def waiting(path: Path) -> int:
    return len(writer_queue.queue_for(str(path))._waiting)


def program(path: Path, source: str, seconds: float = PATIENCE) -> "subprocess.Popen[str]":
    code = WRITER % {"settings": SETTINGS, "options": options(seconds)} + source
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


HOLDER = """
database = connect()
database.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
print("holds", flush=True)
sys.stdin.readline()
database.commit()
"""


def test_threads_of_one_process_write_in_their_order(connect: Callable[..., DatabaseWrapper], path: Path) -> None:
    first = connect()
    begin(first)
    threads = []
    for number in range(8):
        database = connect()
        database.ensure_connection()
        threads.append(in_background(lambda database=database, number=number: write(database, str(number))))
        until(lambda number=number: waiting(path) == number + 1)
    end(first)
    joined(*threads)
    assert texts(path) == [str(number) for number in range(8)]


@pytest.mark.slow
def test_no_write_of_several_processes_is_lost(path: Path) -> None:
    source = """
def work(name):
    database = connect()
    for number in range(20):
        database.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
        with database.cursor() as cursor:
            cursor.execute("INSERT INTO entry (text) VALUES (%s)", [f"{sys.argv[1][-1]} {name} {number}"])
        database.commit()
        database.set_autocommit(True)
    database.close()

threads = [Thread(target=work, args=[name]) for name in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    programs = [program(path, source.replace("{sys.argv[1][-1]}", str(number))) for number in range(3)]
    assert [each.wait(60) for each in programs] == [0, 0, 0]
    for each in programs:
        each.communicate()
    written = texts(path)
    assert len(written) == 3 * 6 * 20
    for number in range(3):
        for name in range(6):
            texts_of_thread = [text for text in written if text.startswith(f"{number} {name} ")]
            assert texts_of_thread == [f"{number} {name} {count}" for count in range(20)]


def test_another_process_writes_before_a_thread_that_came_later(
    connect: Callable[..., DatabaseWrapper], path: Path
) -> None:
    first, second = connect(), connect()
    second.ensure_connection()
    begin(first)
    source = 'database = connect(); database.ensure_connection(); print("ready", flush=True); sys.stdin.readline()\n'
    source += """
database.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
with database.cursor() as cursor:
    cursor.execute("INSERT INTO entry (text) VALUES ('other')")
database.commit()
"""
    other = program(path, source)
    assert said(other) == "ready"
    other.stdin.write("\n")  # type: ignore[union-attr]
    other.stdin.flush()  # type: ignore[union-attr]
    file_locks = writer_queue.queue_for(str(path))._file_locks
    assert file_locks
    until(lambda: file_locks.next_waits_since() < time.monotonic())
    thread = in_background(lambda: write(second, "later"))
    until(lambda: waiting(path) == 1)
    end(first)
    joined(thread)
    assert other.wait(PATIENCE) == 0
    other.communicate()
    assert texts(path) == ["other", "later"]


def test_a_killed_process_releases_its_locks(connect: Callable[..., DatabaseWrapper], path: Path) -> None:
    holder = program(path, HOLDER)
    assert said(holder) == "holds"
    database = connect()
    thread = in_background(lambda: write(database, "after"))
    until(lambda: waiting(path) == 1)
    holder.send_signal(signal.SIGKILL)
    holder.wait(PATIENCE)
    holder.communicate()
    joined(thread)
    assert texts(path) == ["after"]


def test_a_halted_process_that_is_next_blocks_no_other(connect: Callable[..., DatabaseWrapper], path: Path) -> None:
    first = connect()
    begin(first)
    halted = program(path, HOLDER)
    file_locks = writer_queue.queue_for(str(path))._file_locks
    assert file_locks
    until(lambda: file_locks.next_waits_since() < time.monotonic())
    halted.send_signal(signal.SIGSTOP)
    try:
        end(first)
        second = connect()
        write(second, "one")
        write(second, "two")
        assert texts(path) == ["one", "two"]
    finally:
        halted.kill()
        halted.communicate()
    write(connect(), "after")


@pytest.mark.parametrize("elsewhere", [True, False], ids=["by another process", "by another thread"])
def test_a_lock_held_for_too_long_is_an_error(
    connect: Callable[..., DatabaseWrapper], path: Path, elsewhere: bool
) -> None:
    late = connect(0.3)
    if elsewhere:
        holder = program(path, HOLDER)
        assert said(holder) == "holds"
    else:
        other = connect()
        begin(other)
    with pytest.raises(OperationalError, match="database is locked"):
        begin(late)
    if elsewhere:
        holder.communicate("\n")
    else:
        end(other)
    write(late, "now")
    assert texts(path) == ["now"]


def test_a_lock_of_another_program_is_an_error(connect: Callable[..., DatabaseWrapper], path: Path) -> None:
    late, later = connect(0.3), connect()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="database is locked"):
            begin(late)
        thread = in_background(lambda: write(later, "later"))
        until(lambda: writer_queue.queue_for(str(path))._writer is not None)
        other.execute("ROLLBACK")
    joined(thread)
    write(late, "now")
    assert texts(path) == ["later", "now"]


def test_time_in_the_queue_is_subtracted_from_the_timeout(connect: Callable[..., DatabaseWrapper]) -> None:
    database, first = connect(), connect()
    database.ensure_connection()
    begin(first)
    statements: list[str] = []
    database.connection.set_trace_callback(statements.append)
    thread = in_background(lambda: write(database, "x"))
    time.sleep(writer_queue.LONG_WAIT_SECONDS * 3)
    end(first)
    joined(thread)
    timeouts = [int(text.rpartition(" ")[2]) for text in statements if "busy_timeout" in text]
    assert timeouts[0] < timeouts[1] == PATIENCE * 1000


def fail_to_commit(database: DatabaseWrapper) -> None:
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        cursor.execute("CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
        cursor.execute("INSERT INTO child VALUES (1)")
    with pytest.raises(Exception, match="FOREIGN KEY"):
        database.commit()


def commit_fails(database: DatabaseWrapper) -> None:
    fail_to_commit(database)
    database.rollback()
    database.set_autocommit(True)


def statement_fails(database: DatabaseWrapper) -> None:
    with pytest.raises(OperationalError), database.cursor() as cursor:
        cursor.execute("INSERT INTO nothing VALUES (1)")
    database.rollback()
    database.set_autocommit(True)


def connection_closed(database: DatabaseWrapper) -> None:
    database.close()


def begun_twice(database: DatabaseWrapper) -> None:
    with pytest.raises(OperationalError, match="within a transaction"):
        begin(database)
    database.rollback()
    database.set_autocommit(True)


@pytest.mark.parametrize(
    "how", [commit_fails, statement_fails, connection_closed, begun_twice], ids=lambda how: how.__name__
)
def test_nothing_stays_locked(
    connect: Callable[..., DatabaseWrapper], path: Path, how: Callable[[DatabaseWrapper], None]
) -> None:
    database = connect()
    begin(database)
    how(database)
    write(connect(1), "next")
    write(database, "again")
    assert texts(path) == ["next", "again"]


def test_a_failed_commit_keeps_the_place_in_the_queue(connect: Callable[..., DatabaseWrapper], path: Path) -> None:
    database = connect()
    begin(database)
    fail_to_commit(database)
    thread = in_background(lambda: write(connect(), "next"))
    until(lambda: waiting(path) == 1)
    database.rollback()
    joined(thread)


@pytest.mark.slow
def test_a_thread_that_ends_in_a_transaction_leaves_the_queue(
    connect: Callable[..., DatabaseWrapper], path: Path
) -> None:
    def vanish() -> None:
        lost = DatabaseWrapper({**SETTINGS, "NAME": str(path), "OPTIONS": options()}, "default")
        begin(lost)

    joined(in_background(vanish))
    gc.collect()  # as long as the connection is there, SQLite locks others out too
    write(connect(), "after")
    assert texts(path) == ["after"]


@pytest.mark.slow
def test_a_forked_process_has_its_own_queue(connect: Callable[..., DatabaseWrapper], path: Path) -> None:
    database = connect()
    begin(database)
    child = os.fork()
    if not child:  # pragma: no cover
        failure = 1
        with suppress(BaseException):
            own = DatabaseWrapper({**SETTINGS, "NAME": str(path), "OPTIONS": options(0.3)}, "default")
            try:
                begin(own)
            except OperationalError:  # the parent writes
                failure = 0
        os._exit(failure)
    assert os.waitpid(child, 0)[1] == 0
    elsewhere = program(path, HOLDER, 0.3)
    assert elsewhere.wait(PATIENCE) == 1  # still
    elsewhere.communicate()
    end(database)
    write(connect(), "after")


@pytest.mark.parametrize("how", ["a folder is there", "no flock"])
def test_without_file_locks_all_writers_still_write(
    connect: Callable[..., DatabaseWrapper], path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "no flock":
        monkeypatch.setattr("duely.database.sqlite.file_locks.fcntl", None)
    else:
        Path(f"{path}.turn.lock").mkdir()
    databases = [connect() for _ in range(4)]
    joined(*(in_background(lambda each=each: write(each, "x")) for each in databases))
    assert texts(path) == ["x"] * 4


def test_a_database_in_memory_has_no_queue(connect: Callable[..., DatabaseWrapper]) -> None:
    for name in (":memory:", "file:some?mode=memory&cache=shared"):
        database = connect(name=name)
        begin(database)
        assert database._queue is None
        end(database)


def test_lock_files_have_the_permissions_of_the_database(connect: Callable[..., DatabaseWrapper], path: Path) -> None:
    path.chmod(0o660)
    write(connect(), "x")
    for name in ("turn", "next"):
        assert Path(f"{path}.{name}.lock").stat().st_mode & 0o777 == 0o660


@pytest.mark.usefixtures("committed_db")
@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite's backend")
def test_nested_blocks_queue_once() -> None:
    with transaction.atomic(durable=True), transaction.atomic():
        writer = connection._writer  # type: ignore[attr-defined]
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            _ = 1 / 0
        assert writer is not None
        assert connection._writer is writer  # type: ignore[attr-defined]
    assert connection._writer is None  # type: ignore[attr-defined]


@pytest.mark.usefixtures("committed_db")
@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite's backend")
def test_a_request_that_waits_too_long_gets_503_with_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    me = Api(alice())
    connection.close()
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            begun.set()
            done.wait(PATIENCE)
        connection.close()

    thread = in_background(hold)
    assert begun.wait(PATIENCE)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.3)
    try:
        refused = me.post("tasks/", {"title": "x"})
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        assert me.get("tasks/").status_code == 200
    finally:
        done.set()
    joined(thread)
    assert me.post("tasks/", {"title": "x"}).status_code == 201
