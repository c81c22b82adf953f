"""Health checks: whether the process is alive, and whether it can do its work.

Load balancers and container managers ask every few seconds, with any host name, from any address, and also while the
database hangs. So the answers need no slot, and come before the checks of hosts, bans and limits and before the log.
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
from duely.core import drain, keys
from duely.guard import space
from duely.guard.queries import installed_key

Application = Callable[..., Iterable[bytes]]
Checks = Mapping[str, str]

KEEP_SECONDS = 1.0
"""How long the result of a check is reused."""
PATIENCE_SECONDS = 2.0
"""How long the database may take to answer."""
RECOVERY_SECONDS = 0.2
"""How long to wait for a new result after a bad one, so that callers do not queue up while the database is down."""
DISK_BYTES = 64 * 1024
OK = "ok"
READ_ONLY = "read-only"
UNKNOWN = {"database": "unreachable", "migrations": "unknown", "secret_key": "unknown"}


class System:
    """The parts without which requests fail: the database with its migrations, and for SQLite a writable disk.

    Redis, mail and jobs do not belong to it: without them requests still succeed.
    """

    def __init__(self) -> None:
        self._is_migrated = False
        self._has_key = False

    def check(self) -> Checks:
        """The state of each part: OK or the fault."""
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
        is_writable = not space.is_full() and not any(map(refuses_writes, directories))
        return {**database, "disk": OK if is_writable else "not writable"}

    def _database(self) -> str:
        # A standby answers reads, but refuses every sign-in and every change.
        if connection.vendor != "postgresql":
            return OK
        return OK if connection.takes_writes() else READ_ONLY  # type: ignore[attr-defined]

    def _migrations(self) -> str:
        # Once the schema is complete it stays so: code of one release works on the schema of the next one.
        if not self._is_migrated:
            self._is_migrated = not pending_migrations()
            return OK if self._is_migrated else "pending"
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
        return OK

    def _key(self, migrations: str) -> str:
        # Commands compare the keys at their start. A process that started without a database compares them here.
        if not self._has_key and migrations == OK:
            installed = installed_key()
            if installed is None:
                return OK  # `duely migrate` stores the key; a check writes nothing
            self._has_key = installed in keys.fingerprints()
        if self._has_key:
            return OK
        return "another" if migrations == OK else "unknown"


def refuses_writes(directory: Path) -> bool:
    """Whether no file can be written there: the file system is full or read-only, or the directory does not exist."""
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            return file.write(bytes(DISK_BYTES)) < DISK_BYTES
    except OSError:
        return True


class Readiness:
    """The last result of a check, which runs in a thread when it is asked for, at most once a second.

    check: a function that may take any time.
    """

    def __init__(self, check: Callable[[], Checks], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._check = check
        self._patience_seconds = patience_seconds
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._began_at: float | None = None  # None while no check runs
        self._ended_at = float("-inf")
        self._result: Checks | None = None

    def checks(self) -> Checks:
        """The state of each part. It is at most a second old, or UNKNOWN if a new check takes too long."""
        if self._process != os.getpid():  # a forked process has no thread of its parent
            self._reset()
        with self._changed:
            if time.monotonic() - self._ended_at >= KEEP_SECONDS:
                self._wait(self._start())
            is_late = self._began_at is not None and time.monotonic() - self._began_at >= self._patience_seconds
            if self._result is None or is_late:
                return UNKNOWN
            return self._result

    def _start(self) -> float:
        """Start a check unless one runs. Returns the time at which the running one began."""
        if self._began_at is None:
            self._began_at = time.monotonic()
            threading.Thread(target=self._run, name="duely-readiness", daemon=True).start()
        return self._began_at

    def _wait(self, began_at: float) -> None:
        was_good = self._result is None or is_good(self._result)
        seconds = self._patience_seconds if was_good else min(self._patience_seconds, RECOVERY_SECONDS)
        self._changed.wait_for(lambda: self._began_at != began_at, began_at + seconds - time.monotonic())

    def _run(self) -> None:
        result: Checks = UNKNOWN
        try:
            result = self._check()
        finally:  # after an unexpected error too: otherwise no check would ever start again
            with self._changed:
                self._result, self._ended_at, self._began_at = result, time.monotonic(), None
                self._changed.notify_all()


def is_good(checks: Checks) -> bool:
    """Whether every part is OK."""
    return all(state == OK for state in checks.values())


readiness = Readiness(System().check)
"""The readiness of this process."""


def liveness() -> tuple[HTTPStatus, dict[str, Any]]:
    """200, as long as the process answers."""
    return HTTPStatus.OK, {"status": OK}


def ready_state() -> tuple[HTTPStatus, dict[str, Any]]:
    """200 if the process can do its work and does not stop, else 503. The document names the state of each part."""
    checks = dict(readiness.checks())
    if drain.stage():
        checks["server"] = "stopping"
    if is_good(checks):
        return HTTPStatus.OK, {"status": OK, "checks": checks}
    return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "checks": checks}


STATES: dict[str, Callable[[], tuple[HTTPStatus, dict[str, Any]]]] = {"/healthz": liveness, "/readyz": ready_state}


def health_first(application: Application) -> Application:
    """Answer the health checks, and pass all other requests to the application."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        state = STATES.get(environ["PATH_INFO"])
        if state is None:
            return application(environ, start_response)
        headers = [("Cache-Control", "no-store")]
        if drain.stage():
            headers.append(("Connection", "close"))
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
    """`/healthz` as a Django view, for its development server and its test client."""
    return _response(*liveness())


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """`/readyz` as a Django view."""
    return _response(*ready_state())


def _response(status: HTTPStatus, document: dict[str, Any]) -> HttpResponse:
    return HttpResponse(json.dumps(document), status=status, content_type="application/json")
