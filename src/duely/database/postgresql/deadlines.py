"""Deadlines of statements, for a server that hangs.

PostgreSQL ends a statement by itself after `statement_timeout`; when it hangs, or the network drops every packet,
nothing does. Here a thread of each process looks for statements that have outlived their time and closes the sockets
of their connections: whoever waits for the answer gets an error. Until the server answers again, other statements fail
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
"""How often the thread looks. Each statement ends so much late at most."""
ANSWER_SECONDS = 5.75
"""How long a statement may take: `statement_timeout` (duely.config.database), and a moment for the network."""
LEAST_SECONDS = 1.0
"""What a statement may always take, however long its request has waited before."""
UNLIMITED = float("inf")
MOMENT_SECONDS = 1.0
"""By so much others must have begun later than a statement that hangs, to show that the server works."""
PROBE_SECONDS = 2.0
PROBE_PAUSE_SECONDS = 0.25


class Statement:
    """The statement that a connection executes, if any. One object for each connection.

    `started_at` (`time.monotonic`, 0.0 while there is none) is written for every statement by the thread that executes
    it, without a lock; so is `last_started_at`, of the last one that has ended.
    """

    __slots__ = ("__weakref__", "_is_cut", "_pgconn", "last_started_at", "limit_seconds", "started_at")

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._is_cut = False
        self.started_at = self.last_started_at = 0.0
        self.limit_seconds = ANSWER_SECONDS

    def start(self) -> None:
        """Note that a statement goes to the server. Raises OperationalError while that is known to hang."""
        if watch.is_hanging:
            raise psycopg.OperationalError("the database does not answer")
        self.started_at = time.monotonic()

    def end(self) -> None:
        """Note that it has ended."""
        self.last_started_at = self.started_at
        self.started_at = 0.0

    def is_overdue(self, now: float) -> bool:
        """Whether it has outlived its time."""
        return self.started_at != 0.0 and now - self.started_at > self.limit_seconds

    def has_started_and_ended_since(self, instant: float) -> bool:
        """Whether the server has answered one that was sent after that instant."""
        return self.last_started_at > instant and not self._is_cut

    def cut(self, started_at: float) -> bool:
        """Close the socket under the statement of that start; returns False when it has just ended."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._pgconn.socket)) as copy:
            # While the statement is the same, the connection cannot have been closed, nor its number be another file's.
            if self.started_at == started_at:
                self._is_cut = True
                copy.shutdown(socket.SHUT_RDWR)
                return True
        return False


class Watch:
    """The thread of this process, and whether the server is known to hang. It starts with the first connection."""

    def __init__(self) -> None:
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self.is_hanging = False
        self._lock = threading.Lock()
        self._statements: weakref.WeakSet[Statement] = weakref.WeakSet()
        self._is_running = False
        self._parameters: Mapping[str, Any] = {}

    def add(self, statement: Statement) -> None:
        """Watch the statements of a new connection."""
        with self._lock:
            self._statements.add(statement)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="duely-deadlines", daemon=True).start()

    def connect_by(self, parameters: Mapping[str, Any]) -> None:
        """Say how to connect in order to see whether the server answers."""
        self._parameters = parameters

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            with self._lock:
                statements = list(self._statements)
            now = time.monotonic()
            for statement in statements:
                if statement.is_overdue(now):
                    self._cut(statement, statements)

    def _cut(self, statement: Statement, all_statements: Collection[Statement]) -> None:
        started_at = statement.started_at
        # One alone may hang for itself: a pooler that has no connection left lets it wait for one, and answers others.
        later = started_at + MOMENT_SECONDS
        if not any(other.has_started_and_ended_since(later) for other in all_statements):
            self._note_hanging()  # first: whoever waited for the statement would else try another connection
        statement.cut(started_at)

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
    """Whether the server says anything within PROBE_SECONDS, be it a refusal."""
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
    """A pooler lets clients in while its server hangs: so it takes a statement to know."""
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
    """A connection whose statements have deadlines, all that Django's cursors execute among them."""

    def __init__(self, pgconn: PGconn, *arguments: Any, **options: Any) -> None:
        super().__init__(pgconn, *arguments, **options)
        self.statement = Statement(pgconn)
        watch.add(self.statement)

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Everything that psycopg itself says to the server goes through here."""
        self.statement.start()
        try:
            return super().wait(gen, *arguments, **options)
        finally:
            self.statement.end()
