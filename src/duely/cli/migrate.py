"""`duely migrate`: applies migrations. If several nodes start together, one applies them and the others wait."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from duely.cli.exits import Exit, Failure
from duely.cli.keys import adopt_key, refuse_other_key

log = structlog.get_logger("duely.migrate")

# Any constant that is the same on all nodes.
ADVISORY_LOCK = 0x6475656C79
# A migration, and the wait for the lock, may take longer than a request may.
UNLIMITED = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
LOCK_TIMEOUT = "10s"
POLL_SECONDS = 0.2


def migrate(*, adopt: bool = False) -> list[str]:
    """Apply missing migrations. Returns lines to print.

    adopt: store the secret key of this process as the database's key. Otherwise another key is refused.
    """
    setup()
    with only_one_at_a_time():
        if adopt:
            return [*apply(), *adopt_key()]
        refuse_other_key()
        lines = apply()
        refuse_other_key()
        return lines


def setup() -> None:
    """Load Django for a command, with one plain connection. Creates the directory of an SQLite file.

    Files that the command creates can be read by this user only.
    """
    import django
    from django.conf import settings

    os.umask(0o077)
    database = settings.DATABASES["default"]
    # A pool would hide the reason why the server cannot be reached.
    database["OPTIONS"].pop("pool", None)
    django.setup()
    if database["ENGINE"].endswith("sqlite"):
        _make_directory(Path(database["NAME"]).parent)


def apply() -> list[str]:
    """Apply missing migrations. The caller holds the lock of `only_one_at_a_time`."""
    from django.core.management import call_command

    from duely.api.health import pending_migrations

    pending = pending_migrations()
    if not pending:
        return ["The database is up to date."]
    call_command("migrate", interactive=False, verbosity=0)
    return [f"Applied {migration}." for migration in pending]


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """A context that holds the migration lock of the installation. Waits for another holder."""
    from django.db import connection

    if connection.vendor == "postgresql":
        from duely.cli.pooler import refuse_pooler

        refuse_pooler()  # a pooler would lose the lock too
        with _advisory_lock():
            yield
    else:
        with _file_lock(Path(f"{connection.settings_dict['NAME']}.migrate.lock")):
            yield


@contextmanager
def _advisory_lock() -> Iterator[None]:
    from django.db import connection

    connection.be_patient()  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        for name in UNLIMITED:
            cursor.execute(f"SET {name} = 0")
        if not _locked(cursor):
            log.info("another process is migrating, waiting for it")
            # Polled. CREATE INDEX CONCURRENTLY waits for all running statements, so a statement that waits for the lock
            # would wait for the index, and the index for it.
            while not _locked(cursor):
                time.sleep(POLL_SECONDS)
        cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
            for name in UNLIMITED:
                cursor.execute(f"RESET {name}")


def _locked(cursor: Any) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
    return bool(cursor.fetchone() == (True,))


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    try:
        opened = path.open("w")
    except OSError as error:
        raise Failure(
            f"{path} cannot be written: {error.strerror}. The folder of the database must be writable for Duely.",
            Exit.DATABASE,
        ) from None
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process is migrating, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{path} cannot be made for the database: {error.strerror}. Choose another DATA_DIR.") from None
