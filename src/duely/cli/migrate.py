"""`duely migrate`: bring the database up to date, once, however many nodes start together."""

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

# Any constant will do, as long as every node uses the same one.
ADVISORY_LOCK = 0x6475656C79
# A migration may take longer than a request may; waiting for its turn as well.
UNLIMITED = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
LOCK_TIMEOUT = "10s"
LOOK_SECONDS = 0.2


def migrate(*, adopt: bool = False) -> list[str]:
    """Apply what is missing; returns lines that say what was done.

    adopt: make the secret key of this process the database's. Without that another key is refused.
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
    """Load Django for a command: one plain connection, and the directory of an SQLite file.

    What we create is for this user alone.
    """
    import django
    from django.conf import settings

    os.umask(0o077)
    database = settings.DATABASES["default"]
    # A pool would only hide why the server cannot be reached.
    database["OPTIONS"].pop("pool", None)
    django.setup()
    if database["ENGINE"].endswith("sqlite"):
        _make_directory(Path(database["NAME"]).parent)


def apply() -> list[str]:
    """Apply what is missing; the caller holds the lock."""
    from django.core.management import call_command

    from duely.api.health import pending_migrations

    pending = pending_migrations()
    if not pending:
        return ["The database is up to date."]
    call_command("migrate", interactive=False, verbosity=0)
    return [f"Applied {migration}." for migration in pending]


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Hold the installation's migration lock; waits for another process that holds it."""
    from django.db import connection

    if connection.vendor == "postgresql":
        from duely.cli.pooler import refuse_pooler

        refuse_pooler()  # the lock would not be kept either
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
            # Asked again and again: one statement that waits would itself be waited for by an index that is built
            # while the database is in use, and neither would ever end.
            while not _locked(cursor):
                time.sleep(LOOK_SECONDS)
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
