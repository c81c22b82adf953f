"""What every test run needs: settings, a database, and a clean end.

DUELY_TEST_DATABASE=sqlite (the default) or postgres chooses the database. PostgreSQL is started once for a run; the
xdist workers share the server, each with a database of its own.
"""

import functools
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import django
import pytest
import pytest_django.fixtures
from pytest_django import DjangoDbBlocker

import cast
import postgres_server
from programs import LIMITS
from smtp_server import SmtpServer

DATABASE = os.environ.get("DUELY_TEST_DATABASE", "sqlite")
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
DIRECTORY = "DUELY_TEST_DIRECTORY"
POSTGRES = "DUELY_TEST_POSTGRES"
# Filled by migrations and by Django itself after them, never by tests.
KEPT_TABLES = frozenset({"django_migrations", "django_content_type", "auth_permission"})

_server: "subprocess.Popen[str] | None" = None


def _settings() -> dict[str, str]:
    directory = os.environ[DIRECTORY]
    url = os.environ[POSTGRES].format(database="duely") if DATABASE == "postgres" else f"sqlite:///{directory}/duely.db"
    return {
        "DJANGO_SETTINGS_MODULE": "duely.config.settings",
        "SECRET_KEY": "kZ4vT8xQ2mW6nB0cR5yH9jL3pF7gD1sA-tests-only",
        "DATA_DIR": directory,
        "DATABASE_URL": url,
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "WARNING",
        # Tests of limits set their own.
        **dict.fromkeys(LIMITS, "0"),
    }


def _operator_settings() -> dict[str, str]:
    """Every setting as an empty variable: it hides what the shell or a `.env` file of the developer says."""
    names = re.findall(r"^# ([A-Z_]+)=", (Path(__file__).parents[1] / ".env.example").read_text(), re.MULTILINE)
    return {**dict.fromkeys(names, ""), **{f"{name}_FILE": "" for name in names}}


def pytest_configure(config: pytest.Config) -> None:
    global _server
    if DATABASE not in {"sqlite", "postgres"}:
        raise pytest.UsageError(f"DUELY_TEST_DATABASE must be sqlite or postgres, not {DATABASE!r}.")
    if not IS_WORKER:
        os.environ[DIRECTORY] = tempfile.mkdtemp(prefix="duely-tests-")
        if DATABASE == "postgres":
            _server, os.environ[POSTGRES] = postgres_server.start()
    os.environ.update(_operator_settings() | _settings())
    django.setup()


def pytest_unconfigure(config: pytest.Config) -> None:
    if IS_WORKER:
        return
    if _server is not None:
        postgres_server.stop(_server)
    shutil.rmtree(os.environ.get(DIRECTORY, ""), ignore_errors=True)


# It would make a database only for tests that are marked for it, and those of `committed_db` are not.
pytest_django.fixtures._get_databases_for_setup = lambda items: ({"default"}, set())


def pytest_report_header(config: pytest.Config) -> str:
    return f"database: {DATABASE}"


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Each worker has a database of its own; on SQLite a file, so that threads and processes can share it."""
    from django.conf import settings

    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"{os.environ[DIRECTORY]}/test_{worker}.db" if DATABASE == "sqlite" else f"test_duely_{worker}"
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = name


@pytest.fixture(scope="session", autouse=True)
def one_chain_of_middleware() -> Iterator[None]:
    """Build the middleware once, as a server does. Every `Client()` would read all static files anew: half the time."""
    from django.core.handlers.base import BaseHandler
    from django.test.client import ClientHandler

    built: dict[str, object] = {}

    def load(handler: BaseHandler, is_async: bool = False) -> None:
        if not built:
            BaseHandler.load_middleware(handler, is_async)
            built.update({name: value for name, value in vars(handler).items() if name.startswith("_")})
        vars(handler).update(built)

    ClientHandler.load_middleware = load  # type: ignore[method-assign]
    yield
    del ClientHandler.load_middleware


@pytest.fixture(scope="session")
def slow_work_in_transactions() -> Iterator[list[str]]:
    """Names of slow functions that were called while a transaction was open; those around tests do not count."""
    from duely.accounts.hashers import Argon2id
    from duely.mail import transport

    cast.hashed_password()  # once, before anyone looks: people of the tests are made within transactions too
    found: list[str] = []
    patch = pytest.MonkeyPatch()
    for owner, name in ((Argon2id, "encode"), (Argon2id, "verify"), (transport, "send"), (transport, "check")):
        patch.setattr(owner, name, _watched(getattr(owner, name), found))
    yield found
    patch.undo()


def _watched(function: Callable[..., Any], found: list[str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        from django.db import connection

        if any(not block._from_testcase for block in connection.atomic_blocks):
            found.append(function.__qualname__)
        return function(*args, **kwargs)

    return watched


@pytest.fixture(autouse=True)
def a_new_hour_of_anonymous_entries() -> None:
    """A process records so many of them in an hour, and a run of tests is shorter."""
    from duely.activity import anonymous

    anonymous.window.clear()


@pytest.fixture(autouse=True)
def no_known_addresses() -> Iterator[None]:
    """Counters of limits and bans are empty when a test begins, and when it ends."""
    from duely.guard.watch import watch

    watch.reset()
    yield
    watch.reset()


@pytest.fixture(autouse=True)
def nothing_slow_in_transactions(slow_work_in_transactions: list[str]) -> Iterator[None]:
    """A transaction keeps other writers waiting, so nobody hashes a password or speaks to a server within one."""
    slow_work_in_transactions.clear()
    yield
    assert slow_work_in_transactions == [], "slow work within a transaction"


@pytest.fixture
def committed_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database where commits are real and other connections see them; every row is gone afterwards."""
    from django.db import connection, connections

    with django_db_blocker.unblock():
        try:
            yield
        finally:
            connections.close_all()
            _empty_all_tables()
            if connection.vendor == "postgresql":
                connection.close_pool()
            else:
                connection.close()


def _empty_all_tables() -> None:
    from django.db import connection

    # Those of the index of words are emptied by a command of its own.
    tables = [
        name
        for name in connection.introspection.table_names()
        if name not in KEPT_TABLES and not name.startswith("tasks_search")
    ]
    names = [connection.ops.quote_name(name) for name in tables]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(f"TRUNCATE {', '.join(names)} CASCADE")
            cursor.execute("SET session_replication_role = origin")
        return
    with connection.cursor() as cursor, connection.constraint_checks_disabled():
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = cursor.fetchall()
        cursor.execute("BEGIN IMMEDIATE")
        for name, _ in triggers:
            cursor.execute(f"DROP TRIGGER {connection.ops.quote_name(name)}")
        for name in names:
            cursor.execute(f"DELETE FROM {name}")
        cursor.execute("INSERT INTO tasks_search (tasks_search) VALUES ('delete-all')")
        for _, sql in triggers:
            cursor.execute(sql)
        cursor.execute("COMMIT")


@pytest.fixture
def fresh_database_url(tmp_path: Path) -> Iterator[str]:
    """DATABASE_URL of an empty database for a real `duely` process."""
    if DATABASE == "sqlite":
        yield f"sqlite:///{tmp_path}/duely.sqlite3"
        return
    import psycopg

    name = f"process_{uuid.uuid4().hex}"
    with psycopg.connect(os.environ[POSTGRES].format(database="postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    yield os.environ[POSTGRES].format(database=name)
    with psycopg.connect(os.environ[POSTGRES].format(database="postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


@pytest.fixture
def mailbox(settings: Any) -> Iterator[SmtpServer]:
    """Where mails of the test arrive."""
    from duely.config import email

    with SmtpServer() as server:
        settings.MAIL_SERVER = email.from_url(f"smtp://127.0.0.1:{server.port}")
        yield server


@pytest.fixture
def work() -> Callable[[datetime], None]:
    """Runs every job that is due, as a worker would whose database says that it is this instant."""
    from duely.jobs.queue import claim
    from duely.jobs.runner import execute

    def until_nothing_is_due(now: datetime) -> None:
        while taken := claim("test", 10):
            for running in taken:
                running.now = now
                execute(running)

    return until_nothing_is_due
