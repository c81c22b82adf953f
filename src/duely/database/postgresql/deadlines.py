"""Deadlines of statements, in case the PostgreSQL server hangs (decision 0033).

The server ends a statement after `statement_timeout`. If the server hangs, or the network drops every packet, nothing
ends it. So a thread in each process looks for statements that are overdue, and shuts down the sockets of their
connections: the threads that wait for an answer get an error. Until the server answers again, all other statements fail
at once.
"""

import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import psycopg
import structlog
from psycopg.pq.abc import PGconn

log = structlog.get_logger("duely.database")

LOOK_SECONDS = 0.25
"""How often the thread looks for overdue statements. A statement ends at most this much too late."""
ANSWER_SECONDS = 5.75
"""How long a statement may take: `statement_timeout` (duely.config.database) plus time for the network."""
LEAST_SECONDS = 1.0
"""How long a statement may take in any case, even if its request has waited for long before."""
UNLIMITED = float("inf")
OTHERS_STARTED_LATER_SECONDS = 1.0
"""The server works if it has answered a statement that started this much later than the overdue one."""
PROBE_SECONDS = 2.0
"""How long a probe waits for an answer of the server."""
PROBE_PAUSE_SECONDS = 0.25


class RunningStatement:
    """The statement that a connection executes at the moment, if any. One object for each connection.

    `started_at` is a time of `time.monotonic`, or 0.0 while no statement runs. `last_started_at` is that of the last
    statement that ended. The thread that executes a statement writes both without a lock, because this happens for
    every statement: it costs 0.4 microseconds (decision 0033).
    """

    __slots__ = ("__weakref__", "_is_aborted", "_pgconn", "last_started_at", "limit_seconds", "started_at")

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._is_aborted = False
        self.started_at = self.last_started_at = 0.0
        self.limit_seconds = ANSWER_SECONDS

    def start(self) -> None:
        """Note that a statement starts. Raises OperationalError while the server hangs."""
        if watch.is_hanging:
            raise psycopg.OperationalError("the database does not answer")
        self.started_at = time.monotonic()

    def end(self) -> None:
        """Note that the statement has ended."""
        self.last_started_at = self.started_at
        self.started_at = 0.0

    def is_overdue(self, now: float) -> bool:
        """Whether the statement has run for longer than its limit."""
        return self.started_at != 0.0 and now - self.started_at > self.limit_seconds

    def has_started_and_ended_since(self, instant: float) -> bool:
        """Whether the server has answered a statement that started after this instant."""
        return self.last_started_at > instant and not self._is_aborted

    def abort(self, started_at: float) -> bool:
        """Shut down the socket of the statement that started then. Returns False if it has just ended."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._pgconn.socket)) as copy:
            # While the same statement runs, its connection is open. So the file descriptor is still that connection's.
            if self.started_at == started_at:
                self._is_aborted = True
                copy.shutdown(socket.SHUT_RDWR)
                return True
        return False


class Watch:
    """The thread that looks for overdue statements. It starts with the first connection of a process."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # a child process has neither the thread nor the connections

    def _reset(self) -> None:
        self.is_hanging = False
        self._lock = threading.Lock()
        self._statements: weakref.WeakSet[RunningStatement] = weakref.WeakSet()
        self._is_running = False
        self._parameters: Mapping[str, Any] = {}

    def add(self, statement: RunningStatement) -> None:
        """Watch the statements of a new connection."""
        with self._lock:
            self._statements.add(statement)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="duely-deadlines", daemon=True).start()

    def connect_by(self, parameters: Mapping[str, Any]) -> None:
        """Set the connection parameters of the probe."""
        self._parameters = parameters

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            with self._lock:
                statements = list(self._statements)
            now = time.monotonic()
            for statement in statements:
                if statement.is_overdue(now):
                    self._abort(statement, statements)

    def _abort(self, statement: RunningStatement, all_statements: Collection[RunningStatement]) -> None:
        started_at = statement.started_at
        # One connection may wait alone: a pooler without a free connection lets it wait, and answers the others.
        later = started_at + OTHERS_STARTED_LATER_SECONDS
        if not any(other.has_started_and_ended_since(later) for other in all_statements):
            self._note_hanging()  # before the abort, else the aborted request would try another connection
        statement.abort(started_at)

    def _note_hanging(self) -> None:
        if not self.is_hanging and self._parameters:
            self.is_hanging = True
            log.warning("the database does not answer; requests fail until it does")
            threading.Thread(target=self._wait_for_answer, name="duely-probe", daemon=True).start()

    def _wait_for_answer(self) -> None:
        while not answers(self._parameters):
            time.sleep(PROBE_PAUSE_SECONDS)
        self.is_hanging = False
        log.info("the database answers again")


watch = Watch()


def answers(parameters: Mapping[str, Any]) -> bool:
    """Whether the server answers within PROBE_SECONDS. A refusal is an answer too."""
    try:
        connection = psycopg.connect(**parameters, autocommit=True)
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        return True
    try:
        return _answers(connection.pgconn)
    except psycopg.Error:
        return True
    finally:
        connection.close()


def _answers(pgconn: PGconn) -> bool:
    """Whether the server answers a statement. A pooler accepts connections even while its server hangs."""
    pgconn.send_query(b"SELECT 1")
    pgconn.flush()
    end = time.monotonic() + PROBE_SECONDS
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    while pgconn.is_busy():
        if not poll.poll(max(end - time.monotonic(), 0) * 1000):
            return False
        pgconn.consume_input()
    return True


class Connection(psycopg.Connection[Any]):
    """A connection whose statements have deadlines, including those of Django's cursors."""

    def __init__(self, pgconn: PGconn, *arguments: Any, **options: Any) -> None:
        super().__init__(pgconn, *arguments, **options)
        self.statement = RunningStatement(pgconn)
        watch.add(self.statement)

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Wait with a deadline. psycopg calls this for everything that it sends to the server."""
        self.statement.start()
        try:
            return super().wait(gen, *arguments, **options)
        finally:
            self.statement.end()
