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
from threading import Event, Timer
from typing import Any

import structlog

from duely.cli.address import refuse_taken
from duely.cli.cores import create_core_locks, pin_to_free_core
from duely.cli.keys import refuse_other_key_if_reachable
from duely.cli.lifeline import end_with_parent, reset_signals_in_forks, run_in_child
from duely.cli.pooler import refuse_pooler_if_reached
from duely.cli.stopping import drain_then_stop
from duely.core import drain
from duely.core.drain import Stage

log = structlog.get_logger("duely.web")

# One open connection, idle ones included, takes one place in a worker.
CONNECTIONS_PER_WORKER = 1024
# Also closes idle connections. Longer than a proxy keeps them, or nginx would send a request into a closing connection.
HEADER_TIMEOUT_MILLISECONDS = 65_000
# How long requests may take after the drain.
FINISH_SECONDS = 25
# In the last part of FINISH_SECONDS an import stops with an answer, instead of being killed (core/drain).
ENDING_SECONDS = 5
# Signals within this time count as one: a service manager may signal every process of a service, and `duely serve`
# passes its own signal on.
SAME_SIGNAL_SECONDS = 0.5
# The limit of a request line with its headers. Larger heads, or more than a hundred headers, get 431 before they are
# in memory.
MAX_HEAD_BYTES = 16 * 1024


def web() -> None:
    """Serve until SIGTERM or SIGINT; running requests finish first. Raises Failure if the port is taken."""
    import django
    from django.conf import settings

    refuse_taken(settings.HOST, settings.PORT)
    django.setup()
    for sentence in run_in_child(check_database):
        log.warning(sentence)
    serve_web()


def check_database() -> list[str]:
    """Refuse a pooler that does not keep sessions, and a database of another secret key. Raises Failure.

    Returns what the operator must do before users can sign in.
    """
    from django.db import DatabaseError, InterfaceError

    from duely.accounts.queries import has_admin
    from duely.api.health import pending_migrations

    refuse_pooler_if_reached()
    refuse_other_key_if_reachable()
    with suppress(DatabaseError, InterfaceError):  # /readyz reports it
        if pending_migrations():
            return ["the database is not up to date; run: duely migrate"]
        if not has_admin():
            return ["there is no administrator; make the first one: duely createadmin"]
    return []


def serve_web() -> None:
    """Serve like `web`, without its checks."""
    from django.conf import settings
    from django.utils.module_loading import import_string
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server

    class DrainingServer(Server):  # type: ignore[valid-type, misc]
        """A server that drains before it stops (decision 0032). See `duely.core.drain`."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.main_loop_interrupt = _WakingEvent()
            self._signalled_at: float | None = None
            self._is_urgent = Event()

        def signal_handler_interrupt(self, *arguments: Any, **options: Any) -> None:
            now = time.monotonic()
            if self._signalled_at is None:
                self._signalled_at = now
            elif now - self._signalled_at > SAME_SIGNAL_SECONDS:
                self._is_urgent.set()
            super().signal_handler_interrupt(*arguments, **options)

        def _stop_workers(self) -> None:
            drain.enter(Stage.DRAINING)
            self._is_urgent.wait(settings.DRAIN_SECONDS)
            drain.enter(Stage.FINISHING)
            for worker in self.wrks:
                worker.terminate()
            deadline = time.monotonic() + FINISH_SECONDS
            ending = Timer(FINISH_SECONDS - ENDING_SECONDS, drain.enter, [Stage.ENDING])
            ending.daemon = True
            ending.start()
            for worker in self.wrks:
                # Waits for the sentinel, because `is_alive` can be true for an ended process while another thread
                # collects its exit code.
                if not wait([worker.inner.sentinel], max(deadline - time.monotonic(), 0)):
                    log.warning("requests were not finished in time, their process is killed", pid=worker.inner.pid)
                    worker.kill()
                worker.join()
            ending.cancel()
            self.wrks.clear()

    # granian warns about more threads than cores. Most of them wait for clients; `settings.WEB_AT_ONCE` of them work
    # (decision 0013).
    logging.getLogger("_granian").addFilter(lambda record: "Python threads" not in record.getMessage())
    # Imported before the fork: workers share the memory, and the replacement of a dead worker serves at once.
    gc.disable()  # as in serve
    import_string(settings.WSGI_APPLICATION)
    # See duely.cli.serve (decision 0020).
    gc.freeze()
    gc.enable()
    # Blocks signals during the fork. A SIGTERM before the worker has its own handlers would kill it.
    reset_signals_in_forks()
    if sys.platform == "linux":
        # With the default of Python 3.14 each worker would import everything again.
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
    core_locks = create_core_locks(settings.WEB_CONCURRENCY)
    memory = multiprocessing.RawArray("b", 1)
    drain.share(memory)
    server.serve(target_loader=partial(load_application, core_locks=core_locks, memory=memory), wrap_loader=True)


class _WakingEvent(Event):
    """An Event whose wait wakes up every second, because a signal just before the wait would not end it."""

    def wait(self, timeout: float | None = None) -> bool:
        while timeout is None:
            if super().wait(1.0):
                return True
        return super().wait(timeout)


def load_application(target: str, core_locks: int | None, memory: Any) -> Callable[..., Any]:
    """Prepare a worker process and return its application. granian calls this in each worker."""
    from django.conf import settings
    from django.utils.module_loading import import_string
    from granian import _signals
    from granian._granian import WorkerSignal

    def stop_signal() -> Any:
        stop = WorkerSignal()
        drain_then_stop(stop.set, port=settings.PORT, max_seconds=settings.DRAIN_SECONDS)
        return stop

    # Replaces granian's own handlers. A test fails if a version of granian does not call this function.
    _signals.set_sync_signals = stop_signal
    drain.share(memory)
    end_with_parent(os.getppid())
    if core_locks is not None:
        pin_to_free_core(core_locks)
    application: Callable[..., Any] = import_string(target)
    return application
