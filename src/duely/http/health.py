"""Health: is the process alive, can it do its work.

Load balancers and container managers ask every few seconds, by any name and address, also while the database hangs. So
the answers come before the queue of slots and before everything that looks at a request: host, bans, limits, log.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from duely.api.health import pending_migrations
from duely.core import keys
from duely.guard import space
from duely.guard.queries import installed_key
from duely.http import drain

Application = Callable[..., Iterable[bytes]]
Checks = Mapping[str, str]

KEEP_SECONDS = 1.0
"""How long the result of a check is given again."""
PATIENCE_SECONDS = 2.0
"""How long the database may take to answer."""
RECOVERY_SECONDS = 0.2
"""How long to wait for a new result after a bad one, so that callers do not pile up while the database is away."""
DISK_BYTES = 64 * 1024
OK = "ok"
READ_ONLY = "read-only"
UNKNOWN = {"database": "unreachable", "migrations": "unknown", "secret_key": "unknown"}


class System:
    """What requests need: the database with its migrations, on SQLite a disk that can be written.

    Neither Redis nor mail nor jobs: without them requests are answered all the same.
    """

    def __init__(self) -> None:
        self._is_migrated = False
        self._has_key = False

    def check(self) -> Checks:
        """The state of each part; OK, or what is wrong with it."""
        try:
            migrations = self._migrations()
            key = self._key(migrations)
            database = {"database": self._database(), "migrations": migrations, "secret_key": key}
        except Error:
            database = dict(UNKNOWN)
        finally:
            connection.close()
        if connection.vendor == "postgresql":
            return database
        directories = {Path(connection.settings_dict["NAME"]).parent, settings.DATA_DIR}
        space.check()
        return {**database, "disk": "not writable" if space.is_full() or any(map(refuses_writes, directories)) else OK}

    def _database(self) -> str:
        # A standby answers what is read, and refuses every sign-in and every change.
        if connection.vendor != "postgresql":
            return OK
        return OK if connection.takes_writes() else READ_ONLY  # type: ignore[attr-defined]

    def _migrations(self) -> str:
        # What this program needs does not go away: a newer release adds to it (code N works on the schema of N + 1).
        if not self._is_migrated:
            self._is_migrated = not pending_migrations()
            return OK if self._is_migrated else "pending"
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
        return OK

    def _key(self, migrations: str) -> str:
        # Commands compare the keys at their start; a process that began without a database does so here.
        if not self._has_key and migrations == OK:
            installed = installed_key()
            if installed is None:
                return OK  # a check writes nothing: whoever migrates makes their key the database's
            self._has_key = installed in keys.fingerprints()
        return OK if self._has_key else "another" if migrations == OK else "unknown"


def refuses_writes(directory: Path) -> bool:
    """Whether no file can be written there: the file system is full or read-only, or the directory is gone."""
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            return file.write(bytes(DISK_BYTES)) < DISK_BYTES
    except OSError:
        return True


class Readiness:
    """The last result of a check, which a thread of its own makes when it is asked for, at most once a second.

    check: may take any time.
    """

    def __init__(self, check: Callable[[], Checks], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._check = check
        self._patience_seconds = patience_seconds
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._began_at: float | None = None  # None while no check is under way
        self._ended_at = float("-inf")
        self._result: Checks | None = None

    def checks(self) -> Checks:
        """The state of each part, not older than a second unless a new check takes too long."""
        if self._process != os.getpid():
            self._begin_anew()
        with self._changed:
            if not self._is_fresh():
                self._wait(self._begin())
            is_late = self._began_at is not None and time.monotonic() - self._began_at >= self._patience_seconds
            if self._result is None or is_late:
                return UNKNOWN
            return self._result

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._ended_at < KEEP_SECONDS

    def _begin(self) -> float:
        """Begin a check unless one is under way. Returns when the current one began."""
        if self._began_at is None:
            self._began_at = time.monotonic()
            threading.Thread(target=self._run, name="duely-readiness", daemon=True).start()
        return self._began_at

    def _wait(self, began_at: float) -> None:
        was_good = self._result is None or is_good(self._result)
        most = self._patience_seconds if was_good else min(self._patience_seconds, RECOVERY_SECONDS)
        self._changed.wait_for(lambda: self._began_at != began_at, began_at + most - time.monotonic())

    def _run(self) -> None:
        result: Checks = UNKNOWN
        try:
            result = self._check()
        finally:  # also after a fault that nobody expected: else there would never be another check
            with self._changed:
                self._result, self._ended_at, self._began_at = result, time.monotonic(), None
                self._changed.notify_all()


def is_good(checks: Checks) -> bool:
    """Whether nothing is wrong."""
    return all(state == OK for state in checks.values())


readiness = Readiness(System().check)
"""This process's."""


def liveness() -> tuple[HTTPStatus, dict[str, Any]]:
    """200 while the process answers at all."""
    return HTTPStatus.OK, {"status": OK}


def ready_state() -> tuple[HTTPStatus, dict[str, Any]]:
    """200 when the process can do its work and does not stop, else 503 with what is wrong."""
    checks = {**readiness.checks(), **({"server": "stopping"} if drain.stage() else {})}
    if is_good(checks):
        return HTTPStatus.OK, {"status": OK, "checks": checks}
    return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "checks": checks}


STATES: dict[str, Callable[[], tuple[HTTPStatus, dict[str, Any]]]] = {"/healthz": liveness, "/readyz": ready_state}


def health_first(application: Application) -> Application:
    """Answer the health checks, and leave everything else to the application."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        state = STATES.get(environ["PATH_INFO"])
        if state is None:
            return application(environ, start_response)
        headers = [("Cache-Control", "no-store"), *([("Connection", "close")] if drain.stage() else [])]
        method = environ["REQUEST_METHOD"]
        if method not in {"GET", "HEAD"}:
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0"), *headers])
            return [b""]
        status, document = state()
        content = json.dumps(document).encode()
        length = ("Content-Length", str(len(content)))
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json"), length, *headers])
        return [content if method == "GET" else b""]

    return wrapped


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """The same behind Django, for its development server and test client."""
    return _page(*liveness())


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """The same behind Django."""
    return _page(*ready_state())


def _page(status: HTTPStatus, document: dict[str, Any]) -> HttpResponse:
    return HttpResponse(json.dumps(document), status=status, content_type="application/json")
