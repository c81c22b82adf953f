"""`duely doctor`: checks settings, services, the database and the queue, and advises what to do."""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from duely.cli.exits import Exit, Failure
from duely.cli.serve import describe_database
from duely.core.clock import now

OLDEST_POSTGRES = 15
OLDEST_SQLITE = (3, 38)
LOW_DISK_BYTES = 500 * 1024 * 1024
FULL_DISK_BYTES = 50 * 1024 * 1024
CLOCK_TOLERANCE_SECONDS = 5
LONG_WAIT = timedelta(minutes=2)
# A correct clock cannot show a time before this program was written.
EARLIEST = datetime(2026, 11, 1, tzinfo=UTC)


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: what it saw, and what to do."""

    subject: str
    verdict: Verdict
    seen: str
    advice: str = ""


def doctor() -> None:
    """Print all findings. Changes nothing. Raises Failure if one is wrong."""
    findings = list(examine())
    _print(findings)
    wrong = sum(finding.verdict is Verdict.WRONG for finding in findings)
    if wrong:
        raise Failure(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong; see above.", Exit.FAILED)


def examine() -> Iterator[Finding]:
    """All findings, in the order in which to fix them."""
    import django
    from django.conf import settings
    from django.db import Error

    settings.DATABASES["default"]["OPTIONS"].pop("pool", None)
    django.setup()
    yield from _settings()
    yield from _data_directory()
    yield _disk()
    yield _mail()
    yield from _redis()
    yield from _broker()
    try:
        yield from _database()
    except Error as error:
        yield Finding(
            "Database",
            Verdict.WRONG,
            f"{describe_database()}: {(str(error).strip().splitlines() or ['no answer'])[0]}",
            "Check DATABASE_URL, and that the server runs and lets this user in.",
        )


def _settings() -> Iterator[Finding]:
    from django.conf import settings
    from django.core.checks import ERROR, run_checks

    names = ", ".join(settings.ALLOWED_HOSTS)
    yield Finding(
        "Settings", Verdict.OK, f"{settings.PUBLIC_URL}, on {settings.HOST}:{settings.PORT}, answers to {names}"
    )
    for message in (message for message in run_checks() if not message.is_silenced()):
        verdict = Verdict.WRONG if message.level >= ERROR else Verdict.WARNING
        yield Finding("Settings", verdict, message.msg.rstrip("."), message.hint or "")


def _data_directory() -> Iterator[Finding]:
    from django.conf import settings

    directory: Path = settings.DATA_DIR
    if directory.exists():
        yield _writable(directory)
    path: Path | None = settings.SECRET_KEY_PATH
    if path is None:
        yield Finding("Secret key", Verdict.OK, "from SECRET_KEY")
    else:
        yield Finding("Secret key", Verdict.OK, f"{path}, mode {stat.S_IMODE(path.stat().st_mode):04o}")


def _writable(directory: Path) -> Finding:
    if os.access(directory, os.W_OK | os.X_OK):
        return Finding("Data directory", Verdict.OK, str(directory))
    return Finding(
        "Data directory", Verdict.WRONG, f"{directory} is not writable", f"Give it to this user: chown -R {os.getuid()}"
    )


def _disk() -> Finding:
    from django.conf import settings

    directory = next(path for path in (settings.DATA_DIR, *settings.DATA_DIR.parents) if path.exists())
    free = shutil.disk_usage(directory).free
    seen = f"{free // (1024 * 1024):,} MB free at {directory}"
    if free < FULL_DISK_BYTES:
        return Finding("Disk", Verdict.WRONG, seen, "Make room: writes are about to fail.")
    if free < LOW_DISK_BYTES:
        return Finding("Disk", Verdict.WARNING, seen, "Make room soon.")
    return Finding("Disk", Verdict.OK, seen)


def _mail() -> Finding:
    from django.conf import settings

    from duely.mail import transport

    if settings.MAIL_SERVER is None:
        return Finding("Mail", Verdict.OK, "printed, not sent; EMAIL_URL names a server that sends them")
    try:
        transport.check()
    except transport.MailFailure as failure:
        return Finding("Mail", Verdict.WRONG, str(failure).rstrip("."), "Check EMAIL_URL and the mail server.")
    return Finding("Mail", Verdict.OK, f"the server takes mails from {settings.DEFAULT_FROM_EMAIL}")


def _redis() -> Iterator[Finding]:
    from duely.guard.stores import shared

    redis = shared()
    if redis is None:
        return
    if redis.answers():
        yield Finding("Redis", Verdict.OK, "limits are counted there")
    else:
        advice = "Check REDIS_URL, and that Redis runs near by. Until then limits are counted without it."
        yield Finding("Redis", Verdict.WRONG, "no answer within 50 ms", advice)


def _broker() -> Iterator[Finding]:
    from django.conf import settings

    if not settings.CELERY_BROKER_URL:
        return
    if find_spec("celery") is None:
        yield Finding("Broker", Verdict.WRONG, "Celery is not installed", "Run: pip install 'duely[celery]'")
        return
    from duely.jobs.celery import broker_fault

    if fault := broker_fault():
        yield Finding("Broker", Verdict.WRONG, fault.rstrip("."), "Check CELERY_BROKER_URL, and that the broker runs.")
    else:
        yield Finding("Broker", Verdict.OK, "it takes messages for Celery's workers")


def _database() -> Iterator[Finding]:
    from django.db import connection

    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        yield Finding("Database", Verdict.WRONG, f"{describe_database()} does not exist", "Run: duely migrate")
        return
    yield from _postgres() if connection.vendor == "postgresql" else _sqlite()
    pending = _migrations()
    yield pending
    if pending.verdict is not Verdict.WRONG:
        yield _key()
        yield _admin()
        yield from _jobs()


def _postgres() -> Iterator[Finding]:
    version = _value("SHOW server_version_num")
    major = int(version) // 10_000
    if major < OLDEST_POSTGRES:
        yield Finding(
            "Database", Verdict.WRONG, f"PostgreSQL {major}", f"Upgrade the server to {OLDEST_POSTGRES} or newer."
        )
    else:
        yield Finding("Database", Verdict.OK, f"{describe_database()}, version {major}.{int(version) % 10_000}")
    if _value("SHOW transaction_read_only") == "on":
        advice = "Name the primary server in DATABASE_URL, or set default_transaction_read_only to off."
        yield Finding("Writes", Verdict.WRONG, "the server is read-only: a standby, or set so", advice)
    encoding = _value("SHOW server_encoding")
    if encoding != "UTF8":
        yield Finding(
            "Encoding", Verdict.WRONG, f"the database stores {encoding}", "Make it with ENCODING 'UTF8' and migrate."
        )
    yield from _pooler()
    yield from _session_settings()
    yield _clock(datetime.fromtimestamp(float(_value("SELECT extract(epoch FROM clock_timestamp())")), UTC))


def _pooler() -> Iterator[Finding]:
    from duely.cli.pooler import pooler

    match pooler():
        case True:
            yield Finding("Pooler", Verdict.OK, "it keeps sessions")
        case False:
            advice = "Set pool_mode = session (PgBouncer), or name PostgreSQL itself in DATABASE_URL."
            yield Finding("Pooler", Verdict.WRONG, "it does not keep sessions", advice)


def _session_settings() -> Iterator[Finding]:
    """Session settings that are not in force. A pooler, or a proxy of the provider, may drop them."""
    from django.db import connection

    for name, value in connection.settings_dict["OPTIONS"]["session_settings"].items():
        seen = _value(f"SHOW {name}")
        if seen != value:
            user, database = connection.settings_dict["USER"], connection.settings_dict["NAME"]
            advice = f"""Run: ALTER ROLE "{user}" IN DATABASE "{database}" SET {name} = '{value}'"""
            yield Finding("Session", Verdict.WARNING, f"{name} is {seen} and not {value}", advice)


def _sqlite() -> Iterator[Finding]:
    import sqlite3

    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        yield Finding("Database", Verdict.WRONG, f"SQLite {sqlite3.sqlite_version}", f"Use a Python with {oldest}.")
    else:
        yield Finding("Database", Verdict.OK, f"{describe_database()}, SQLite {sqlite3.sqlite_version}")
    mode = _value("PRAGMA journal_mode")
    if mode != "wal":
        yield Finding(
            "Journal", Verdict.WRONG, f"mode {mode}", "Move DATA_DIR to a local disk: WAL needs shared memory."
        )
    state = _value("PRAGMA quick_check(1)")
    if state == "ok":
        yield Finding("Integrity", Verdict.OK, "quick_check found nothing")
    else:
        yield Finding("Integrity", Verdict.WRONG, state, "Stop Duely and restore a backup.")
    yield _clock(None)


def _value(sql: str) -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return str(cursor.fetchone()[0])


def _clock(server: datetime | None) -> Finding:
    here = now()
    advice = "Turn time synchronisation on: timedatectl set-ntp true"
    if here < EARLIEST:
        return Finding("Clock", Verdict.WRONG, f"{here:%Y-%m-%d %H:%M} UTC is in the past", advice)
    if server is not None and abs((server - here).total_seconds()) > CLOCK_TOLERANCE_SECONDS:
        apart = round(abs((server - here).total_seconds()))
        return Finding("Clock", Verdict.WRONG, f"{apart} s apart from the database's", advice)
    return Finding("Clock", Verdict.OK, f"{here:%Y-%m-%d %H:%M:%S} UTC")


def _migrations() -> Finding:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        return Finding("Migrations", Verdict.WRONG, f"{len(pending)} not applied", "Run: duely migrate")
    unknown = sorted(set(executor.loader.applied_migrations) - set(executor.loader.disk_migrations))
    if unknown:
        names = ", ".join(f"{app}.{name}" for app, name in unknown)
        return Finding("Migrations", Verdict.WARNING, f"the database is newer: {names}", "Upgrade this program.")
    return Finding("Migrations", Verdict.OK, "all applied")


def _key() -> Finding:
    """Whether the database belongs to this secret key. Unlike a start, this stores nothing."""
    from duely.core.keys import fingerprints
    from duely.guard.queries import installed_key

    own, *fallbacks = fingerprints()
    installed = installed_key()
    if installed is None or installed == own:
        return Finding("Fingerprint", Verdict.OK, f"of the secret key: {own}")
    if installed in fallbacks:
        seen = f"of the secret key: {own}; the database has that of a fallback, {installed}"
        return Finding("Fingerprint", Verdict.OK, seen)
    return Finding(
        "Fingerprint",
        Verdict.WRONG,
        f"the database belongs to another secret key: {installed}, here {own}",
        "Use the SECRET_KEY of the other nodes. If it is lost: duely migrate --adopt-key",
    )


def _admin() -> Finding:
    from duely.accounts.queries import has_admin

    if has_admin():
        return Finding("Administrator", Verdict.OK, "there is one")
    return Finding("Administrator", Verdict.WARNING, "there is none", "Run: duely createadmin")


def _jobs() -> Iterator[Finding]:
    """Whether jobs are run in time, and whether there are dead jobs."""
    from duely.jobs.queries import counts, oldest_wait
    from duely.jobs.rules import State

    longest_wait = oldest_wait()
    if longest_wait is not None and longest_wait > LONG_WAIT:
        minutes = int(longest_wait.total_seconds() // 60)
        advice = "Start a worker: duely serve, duely worker, or Celery's."
        yield Finding("Jobs", Verdict.WRONG, f"the oldest has waited for {minutes} min", advice)
    else:
        yield Finding("Jobs", Verdict.OK, "none waits for long")
    dead = sum(number for (_, state), number in counts().items() if state is State.DEAD)
    if dead:
        advice = "Look: duely jobs list --state dead. Try again: duely jobs retry --all"
        yield Finding("Jobs", Verdict.WARNING, f"{dead} failed for the last time", advice)


def _print(findings: list[Finding]) -> None:
    if not sys.stdout.isatty():
        for finding in findings:
            advice = f" {finding.advice}" if finding.advice else ""
            print(f"{finding.verdict:<8} {finding.subject}: {finding.seen}.{advice}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours: dict[Verdict, str] = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.WRONG: "bold red"}
    table = Table(box=None, padding=(0, 2), show_header=False)
    for finding in findings:
        table.add_row(
            Text(finding.verdict, style=colours[finding.verdict]),
            Text(finding.subject, style="bold"),
            Text(finding.seen),
            Text(finding.advice),
        )
    Console().print(table)
