"""`duely web`: granian's processes around the WSGI application."""

import gc
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from threading import Event
from typing import Any

import structlog

from duely.cli.address import refuse_taken
from duely.cli.cores import keep_to_one, lay_out
from duely.cli.keys import refuse_other_key_if_reachable
from duely.cli.lifeline import apart, begin_forks_anew, end_with_parent
from duely.cli.pooler import refuse_pooler_if_reached
from duely.cli.stopping import stop_in_order
from duely.http import drain
from duely.http.drain import Stage

log = structlog.get_logger("duely.web")

# One open connection, idle ones included, takes one place in a worker.
CONNECTIONS_PER_WORKER = 1024
# Also ends idle connections, so it is longer than a proxy keeps them: nginx would send a request into a closing one.
HEADER_TIMEOUT_MILLISECONDS = 65_000
# How long requests may take after the drain.
FINISH_SECONDS = 25
# A service manager may signal every process of a service, and `duely serve` passes the signal on: that is one signal.
SAME_SIGNAL_SECONDS = 0.5
# Of a request line with its headers; more gets 431 before it is in memory, as do more than a hundred of them.
MAX_HEAD_BYTES = 16 * 1024


def web() -> None:
    """Serve until SIGTERM or SIGINT; running requests finish first. Raises Failure when the port is not free."""
    import django
    from django.conf import settings

    refuse_taken(settings.HOST, settings.PORT)
    django.setup()
    for sentence in apart(look_at_database):
        log.warning(sentence)
    serve_web()


def look_at_database() -> list[str]:
    """Refuse a pooler that loses statements, and a database that belongs to another secret key.

    Returns what an operator has yet to do before people can sign in.
    """
    from django.db import DatabaseError, InterfaceError

    from duely.accounts.queries import has_admin
    from duely.api.health import pending_migrations

    refuse_pooler_if_reached()
    refuse_other_key_if_reachable()
    with suppress(DatabaseError, InterfaceError):  # /readyz tells
        if pending_migrations():
            return ["the database is not up to date; run: duely migrate"]
        if not has_admin():
            return ["there is no administrator; make the first one: duely createadmin"]
    return []


def serve_web() -> None:
    """As `web`, on a port that is known to be free."""
    from django.conf import settings
    from django.utils.module_loading import import_string
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server

    class DrainingServer(Server):  # type: ignore[valid-type, misc]
        """One that drains before it stops: see `duely.http.drain`."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.main_loop_interrupt = _WakingEvent()
            self._told_at: float | None = None
            self._is_urgent = Event()

        def signal_handler_interrupt(self, *arguments: Any, **options: Any) -> None:
            now = time.monotonic()
            if self._told_at is None:
                self._told_at = now
            elif now - self._told_at > SAME_SIGNAL_SECONDS:
                self._is_urgent.set()
            super().signal_handler_interrupt(*arguments, **options)

        def _stop_workers(self) -> None:
            drain.enter(Stage.DRAINING)
            self._is_urgent.wait(settings.DRAIN_SECONDS)
            drain.enter(Stage.FINISHING)
            for worker in self.wrks:
                worker.terminate()
            deadline = time.monotonic() + FINISH_SECONDS
            for worker in self.wrks:
                # Its sentinel: a process that has ended can look alive while another thread collects its exit code.
                if not wait([worker.inner.sentinel], max(deadline - time.monotonic(), 0)):
                    log.warning("requests were not finished in time, their process is killed", pid=worker.inner.pid)
                    worker.kill()
                worker.join()
            self.wrks.clear()

    # Most of the threads wait for clients; two work (duely.database.slots).
    logging.getLogger("_granian").addFilter(lambda record: "Python threads" not in record.getMessage())
    # Imported before the fork: workers share its memory, and one that replaces a dead one serves at once.
    gc.disable()  # as in serve
    import_string(settings.WSGI_APPLICATION)
    # See duely.cli.serve (decision 0020).
    gc.freeze()
    gc.enable()
    # A worker would be killed in the midst of requests for a SIGTERM that came before it had handlers of its own.
    begin_forks_anew()
    if sys.platform == "linux":
        # Python 3.14 has another default, with which each of granian's workers would import everything for itself.
        multiprocessing.set_start_method("fork", force=True)
    server = DrainingServer(
        settings.WSGI_APPLICATION,
        address=settings.HOST,
        port=settings.PORT,
        interface=Interfaces.WSGI,
        workers=settings.WEB_CONCURRENCY,
        # More threads than slots: a slow client occupies a thread and no slot (decision 0013).
        blocking_threads=settings.WEB_THREADS,
        backpressure=CONNECTIONS_PER_WORKER,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MILLISECONDS, max_buffer_size=MAX_HEAD_BYTES),
        websockets=False,
        log_level=LogLevels.info if settings.LOG_LEVEL == "DEBUG" else LogLevels.warning,
        log_dictconfig=settings.LOGGING,
        log_access=False,
        respawn_failed_workers=True,
    )
    cores = lay_out(settings.WEB_CONCURRENCY)
    memory = multiprocessing.RawArray("b", 1)
    drain.share(memory)
    server.serve(target_loader=partial(load_application, cores=cores, memory=memory), wrap_loader=True)


class _WakingEvent(Event):
    """An Event whose wait looks up every second: a signal that comes just before it begins would not end it."""

    def wait(self, timeout: float | None = None) -> bool:
        while timeout is None:
            if super().wait(1.0):
                return True
        return super().wait(timeout)


def load_application(target: str, cores: int | None, memory: Any) -> Callable[..., Any]:
    """Runs in each worker: tie it to granian's main process and to a core, then import the application."""
    from django.conf import settings
    from django.utils.module_loading import import_string
    from granian import _signals
    from granian._granian import WorkerSignal

    def stop_signal() -> Any:
        stop = WorkerSignal()
        stop_in_order(stop.set, port=settings.PORT, most_seconds=settings.DRAIN_SECONDS)
        return stop

    # In place of granian's own handlers. A test fails when a version of granian does not ask for them here.
    _signals.set_sync_signals = stop_signal
    drain.share(memory)
    end_with_parent(os.getppid())
    if cores is not None:
        keep_to_one(cores)
    application: Callable[..., Any] = import_string(target)
    return application
