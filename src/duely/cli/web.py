"""`duely web`: granian's processes around the WSGI application."""

import gc
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

from duely.cli.address import refuse_taken
from duely.cli.cores import keep_to_one, lay_out
from duely.cli.lifeline import begin_forks_anew, end_with_parent

# One open connection, idle ones included, takes one place in a worker.
CONNECTIONS_PER_WORKER = 1024
# Also ends idle connections, so it is longer than a proxy keeps them: nginx would send a request into a closing one.
HEADER_TIMEOUT_MILLISECONDS = 65_000
# Below the 30 seconds of the supervisor, so that it never has to kill a server that is stopping in order.
DRAIN_SECONDS = 25
TELL_AGAIN_SECONDS = 0.5
# Of a request line with its headers; more gets 431 before it is in memory, as do more than a hundred of them.
MAX_HEAD_BYTES = 16 * 1024


def web() -> None:
    """Serve until SIGTERM or SIGINT; running requests finish first. Raises Failure when the port is not free."""
    from django.conf import settings

    refuse_taken(settings.HOST, settings.PORT)
    serve_web()


def serve_web() -> None:
    """As `web`, on a port that is known to be free."""
    from django.conf import settings
    from django.utils.module_loading import import_string
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server

    class PersistentServer(Server):  # type: ignore[valid-type, misc]
        """One that tells its workers to stop until they do: one that has only just begun may miss it."""

        def _stop_workers(self) -> None:
            Thread(target=self._tell_again, daemon=True).start()
            super()._stop_workers()

        def _tell_again(self) -> None:
            while self.wrks:  # until it has seen all of them end
                time.sleep(TELL_AGAIN_SECONDS)
                for worker in list(self.wrks):
                    worker.terminate()

    # Most of the threads wait for clients; two work (duely.guard.turns).
    logging.getLogger("_granian").addFilter(lambda record: "Python threads" not in record.getMessage())
    # Imported before the fork: workers share its memory, and one that replaces a dead one serves at once.
    gc.disable()  # as in serve
    import_string(settings.WSGI_APPLICATION)
    gc.freeze()
    gc.enable()
    # A worker would be killed in the midst of requests for a SIGTERM that came before it had handlers of its own.
    begin_forks_anew()
    if sys.platform == "linux":
        # Python 3.14 has another default, with which each of granian's workers would import everything for itself.
        multiprocessing.set_start_method("fork", force=True)
    server = PersistentServer(
        settings.WSGI_APPLICATION,
        address=settings.HOST,
        port=settings.PORT,
        interface=Interfaces.WSGI,
        workers=settings.WEB_CONCURRENCY,
        blocking_threads=settings.WEB_THREADS,
        backpressure=CONNECTIONS_PER_WORKER,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MILLISECONDS, max_buffer_size=MAX_HEAD_BYTES),
        websockets=False,
        log_level=LogLevels.info if settings.LOG_LEVEL == "DEBUG" else LogLevels.warning,
        log_dictconfig=settings.LOGGING,
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
    )
    cores = lay_out(settings.WEB_CONCURRENCY)
    server.serve(target_loader=partial(load_application, cores=cores), wrap_loader=True)


def load_application(target: str, cores: int | None) -> Callable[..., Any]:
    """Runs in each worker: tie it to granian's main process and to a core, then import the application."""
    from django.utils.module_loading import import_string

    end_with_parent(os.getppid())
    if cores is not None:
        keep_to_one(cores)
    application: Callable[..., Any] = import_string(target)
    return application
