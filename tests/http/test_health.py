"""Health checks: their parts, how often they run, and how long a caller waits."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from duely.core import drain
from duely.core.drain import Stage
from duely.http import health
from duely.http.health import OK, UNKNOWN, Checks, Readiness, System, health_first, refuses_writes

GOOD = {"database": OK, "migrations": OK}


@pytest.fixture(autouse=True)
def a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(health, "readiness", Readiness(System().check, patience_seconds=20))
    yield
    drain.enter(Stage.SERVING)


class Database:
    """A check that answers when it is let, with what is set."""

    def __init__(self, result: Checks = GOOD) -> None:
        self.result = result
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self) -> Checks:
        self.asked += 1
        self.answers.wait(20)
        return self.result


def ask(path: str, method: str = "GET", **environ: str) -> tuple[str, dict[str, str], bytes]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise AssertionError("health is answered before")

    told: list[Any] = []
    content = health_first(application)(
        {"PATH_INFO": path, "REQUEST_METHOD": method, **environ}, lambda *args: told.extend(args)
    )
    return told[0], dict(told[1]), b"".join(content)


def test_many_callers_within_a_second_cost_one_check() -> None:
    database = Database()
    readiness = Readiness(database)
    assert [readiness.checks() for _ in range(50)] == [GOOD] * 50
    assert database.asked == 1


def test_a_result_is_reused_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database()
    readiness = Readiness(database)
    readiness.checks()
    monkeypatch.setattr(health, "KEEP_SECONDS", 0.0)
    database.result = UNKNOWN
    assert readiness.checks() == UNKNOWN
    assert database.asked == 2


def test_a_hanging_database_is_reported_after_the_timeout_and_then_at_once() -> None:
    database = Database()
    database.answers.clear()
    readiness = Readiness(database, patience_seconds=0.05)
    assert [readiness.checks() for _ in range(20)] == [UNKNOWN] * 20
    assert database.asked == 1

    database.answers.set()
    while readiness.checks() != GOOD:
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_a_failed_check_another_one_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[Any] = [ValueError("unexpected"), GOOD]

    def check() -> Checks:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return dict(result)

    monkeypatch.setattr(health, "KEEP_SECONDS", 0.0)
    readiness = Readiness(check)
    assert readiness.checks() == UNKNOWN
    # Its exception is reported when the thread ends, which must be within this test.
    for thread in threading.enumerate():
        if thread.name == "duely-readiness":
            thread.join(20)
    assert readiness.checks() == GOOD


def test_a_forked_process_has_its_own_checks() -> None:
    database = Database()
    readiness = Readiness(database)
    readiness.checks()
    readiness._process = -1
    readiness.checks()
    assert database.asked == 2


def test_the_process_is_alive_without_a_database() -> None:
    status, headers, content = ask("/healthz")
    assert (status, content) == ("200 OK", b'{"status": "ok"}')
    assert headers["Cache-Control"] == "no-store"


def test_a_migrated_database_is_ready(committed_db: None) -> None:
    status, _, content = ask("/readyz")
    assert status == "200 OK", content
    assert b'"database": "ok", "migrations": "ok"' in content
    assert Client().get("/readyz").content == content


def test_a_ready_process_asks_for_migrations_once(committed_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    system = System()
    assert health.is_good(system.check())
    with connection.cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations WHERE app = 'tasks'")
        rows = cursor.fetchall()
        cursor.execute("DELETE FROM django_migrations WHERE app = 'tasks'")
        try:
            assert health.is_good(system.check())
            assert System().check()["migrations"] == "pending"
        finally:
            with connection.cursor() as again:
                again.executemany(
                    "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, CURRENT_TIMESTAMP)", rows
                )


@pytest.mark.parametrize("stage", [Stage.DRAINING, Stage.FINISHING])
def test_a_server_that_stops_is_not_ready_and_closes(committed_db: None, stage: Stage) -> None:
    drain.enter(stage)
    status, headers, content = ask("/readyz")
    assert status == "503 Service Unavailable"
    assert headers["Connection"] == "close"
    assert b'"server": "stopping"' in content
    assert ask("/healthz")[0] == "200 OK"
    assert Client().get("/api/v1/").headers["Connection"] == "close"


def test_other_answers_keep_the_connection(db: None) -> None:
    assert "Connection" not in Client().get("/api/v1/").headers
    assert "Connection" not in ask("/healthz")[1]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_only_read(committed_db: None, path: str) -> None:
    status, headers, content = ask(path, "POST")
    assert (status, headers["Allow"], content) == ("405 Method Not Allowed", "GET, HEAD", b"")
    assert ask(path, "HEAD")[2] == b""
    assert int(ask(path, "HEAD")[1]["Content-Length"]) == len(ask(path)[2])


def test_a_directory_that_is_gone_refuses_writes(tmp_path: Path) -> None:
    assert refuses_writes(tmp_path / "gone")
    assert not refuses_writes(tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a mebibyte."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk_refuses_writes(small_disk: Path) -> None:
    assert not refuses_writes(small_disk)
    (small_disk / "filled").write_bytes(bytes(1000 * 1024))
    assert refuses_writes(small_disk)


def test_a_disk_that_is_read_only_refuses_writes(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert refuses_writes(small_disk)


def test_sqlite_is_not_ready_on_a_disk_that_refuses_writes(
    committed_db: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATA_DIR = tmp_path / "gone"
    disk = System().check().get("disk")
    assert disk == ("not writable" if connection.vendor == "sqlite" else None)
