"""The connection to PostgreSQL, its pool and its cursors.

Every statement has a deadline, in case the server hangs (`deadlines`, decision 0033).

Four things cost less than with Django's own backend (decisions 0019, 0021 and 0024):
- A connection of the pool is checked with a statement only if there is something to read on its socket.
- Instants are loaded in C; Django's loader is written in Python (ticket 36960).
- Statements whose text does not change are prepared by the server, and executed by one call of libpq.
- BEGIN and COMMIT are one call of libpq each.
"""

import select
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import psycopg
from django.db.backends.postgresql import base
from django.db.backends.utils import debug_transaction
from django.db.utils import DatabaseErrorWrapper, OperationalError
from django.utils.functional import cached_property
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import Jsonb
from psycopg.types.string import TextLoader
from psycopg_pool import ConnectionPool

from duely.database.postgresql.deadlines import ANSWER_SECONDS, LEAST_SECONDS, UNLIMITED, Connection, watch

django: Any = base
"""Typed as Any, because the type hints of Django's backend do not include the methods that are overridden here."""
MAX_PREPARED = 200
"""Prepared statements that the server keeps for one connection."""
GOOD = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})
STALE = frozenset({b"0A000", b"26000"})
"""SQLSTATEs of a prepared statement whose columns have changed their type, and of one that the server does not have."""
READ_ONLY = "25006"
"""SQLSTATE of a refused write: the server is a standby, or its transactions are read-only."""
TRUSTED_SECONDS = 1.0
"""A detached connection that was idle for longer is checked before it is used (decision 0021)."""
MAX_OUTSIDE_POOL_SECONDS = 600.0
"""After this time a connection returns to the pool, which closes connections that are too old (decision 0021)."""

_DJANGO_PARAMETERS = frozenset({"context", "cursor_factory"})
"""Connection parameters with which Django adapts values and cursors. A plain psycopg connection has no use for them."""


def _without_django(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in _DJANGO_PARAMETERS}


class DetachedConnection(NamedTuple):
    """A connection that no thread uses, and the time (`time.monotonic`) since which none does."""

    connection: Any
    detached_at: float


@lru_cache(maxsize=4)
def _with_loaders_in_c(template: AdaptersMap) -> AdaptersMap:
    adapters = AdaptersMap(template)
    adapters.register_loader("timestamptz", TimestamptzLoader)
    return adapters


class PreparedStatements:
    """The prepared statements of one connection. They return ids as text, and instants too if the caller asks for it.

    psycopg can prepare statements as well. But each execution takes four times as long in Python and releases the
    interpreter three times, and psycopg forgets all statements at each ROLLBACK (decision 0021).
    """

    def __init__(self, connection: Connection) -> None:
        self._pgconn = connection.pgconn
        self._statement = connection.statement
        self._transformer = _transformer_with_text(connection, "uuid")
        self._transformer_of_text = _transformer_with_text(connection, "uuid", "timestamptz")
        self._names: OrderedDict[tuple[str, tuple[int, ...]], bytes] = OrderedDict()
        self._stale: Counter[bytes] = Counter()

    def execute(self, sql: str, params: Sequence[Any]) -> PGresult:
        """Execute a statement, which is prepared at its first execution. Raises psycopg's errors."""
        transformer = self._transformer
        values: Any = transformer.dump_sequence(params, _automatic_formats(len(params)))
        types = transformer.types or ()
        name = self._names.get((sql, types)) or self._prepare(sql, types)
        result = self._exec_prepared(name, values)
        if result.status in GOOD:
            return result
        if result.error_field(DiagnosticField.SQLSTATE) in STALE:
            del self._names[sql, types]
            self._stale[_name(sql, types)] += 1
            # The error has aborted a transaction that was open. Only its caller can start it again.
            if self._pgconn.transaction_status == TransactionStatus.IDLE:
                result = self._exec_prepared(self._prepare(sql, types), values)
        return self._checked(result)

    def _exec_prepared(self, name: bytes, values: Any) -> PGresult:
        self._statement.start()
        try:
            # One call of libpq: 35 instead of 64 µs of Python for the check of a session (decision 0021).
            return self._pgconn.exec_prepared(name, values, self._transformer.formats)
        finally:
            self._statement.end()

    def command(self, sql: bytes) -> None:
        """Execute a command without values and rows. Raises psycopg's errors."""
        self._statement.start()
        try:
            result = self._pgconn.exec_(sql)
        finally:
            self._statement.end()
        self._checked(result)

    def rows(self, result: PGresult, *, as_text: bool = False) -> list[tuple[Any, ...]]:
        """All rows of a result. as_text: instants as the server writes them, `2026-01-31 09:30:00.5+00`."""
        transformer = self._transformer_of_text if as_text else self._transformer
        transformer.set_pgresult(result)
        try:
            rows: list[tuple[Any, ...]] = transformer.load_rows(0, result.ntuples, tuple)
            return rows
        finally:
            transformer.set_pgresult(None)  # else the result would stay in memory until the next one

    def _prepare(self, sql: str, types: tuple[int, ...]) -> bytes:
        name = _name(sql, types)
        times = self._stale[name]
        if times:
            name += b"_%d" % times  # the server still has the former statement under the name without a number
        self._statement.start()
        try:
            result = self._pgconn.prepare(name, _numbered(sql), types)
        finally:
            self._statement.end()
        self._checked(result)
        self._names[sql, types] = name
        while len(self._names) > MAX_PREPARED:
            _, oldest = self._names.popitem(last=False)
            self.command(b"DEALLOCATE " + oldest)
        return name

    def _checked(self, result: PGresult) -> PGresult:
        if result.status in GOOD:
            return result
        if self._pgconn.status == ConnStatus.BAD:
            raise psycopg.OperationalError(self._pgconn.get_error_message("utf-8"))
        raise error_from_result(result, encoding="utf-8")


def _transformer_with_text(connection: psycopg.Connection[Any], *types: str) -> Any:
    """A transformer that returns values of these types as the text that the server sends."""
    context = psycopg.Cursor(connection)
    for name in types:
        context.adapters.register_loader(name, TextLoader)
    return Transformer(context)


@lru_cache(maxsize=2000)
def _name(sql: str, types: tuple[int, ...]) -> bytes:
    """The name of a prepared statement: a digest of its text and types, so that every process uses the same name.

    A pooler may give one client's connection to another client. With numbers as names, a client executed the other
    client's statement (decision 0033).
    """
    return b"duely_" + blake2b(repr((sql, types)).encode(), digest_size=16).hexdigest().encode()


@lru_cache(maxsize=1000)
def _automatic_formats(number: int) -> list[PyFormat]:
    return [PyFormat.AUTO] * number


@lru_cache(maxsize=2000)
def _numbered(sql: str) -> bytes:
    """The statement with `$1`, `$2` in place of each `%s`."""
    numbered, *parts = sql.split("%s")
    for number, part in enumerate(parts, start=1):
        numbered += f"${number}{part}"
    return numbered.replace("%%", "%").encode()


class PreparedCursor:
    """A cursor of prepared statements for Django's cursor wrapper: the part of the DB-API (PEP 249) that it needs."""

    def __init__(self, statements: PreparedStatements, *, as_text: bool) -> None:
        self._statements, self._as_text = statements, as_text
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Execute a statement and fetch all its rows."""
        result = self._statements.execute(sql, params)
        self._rows = self._statements.rows(result, as_text=self._as_text) if result.ntuples else []

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that were not returned yet."""
        rows, self._rows = self._rows, []
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        return self._rows.pop(0) if self._rows else None

    def close(self) -> None:
        """Do nothing: all rows were fetched by `execute`."""


def is_alive(connection: psycopg.Connection[Any]) -> bool:
    """Whether a connection that no thread uses still works.

    If the server has closed a connection, there is something to read on its socket: an error message or the end. So a
    connection with nothing to read needs no statement to check it, which saves a round trip for each request (decision
    0019).
    """
    poll = select.poll()
    try:
        poll.register(connection.fileno(), select.POLLIN)
        if poll.poll(0):
            ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True


class DatabaseOperations(django.DatabaseOperations):  # type: ignore[misc]
    """Django's operations for PostgreSQL, with prepared statements and faster JSON."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> Any:
        """The statement with its values in the text, for logs and tests."""
        if isinstance(cursor, PreparedCursor):
            return self.compose_sql(sql, params)
        return super().last_executed_query(cursor, sql, params)

    def adapt_json_value(self, value: Any, encoder: Any) -> Any:
        """JSON in the type of the driver, encoded by msgspec unless the field has an encoder of its own."""
        if encoder:
            return super().adapt_json_value(value, encoder)
        return Jsonb(value, dumps=msgspec.json.encode)


class ErrorWrapper(DatabaseErrorWrapper):
    """Turns the driver's errors into Django's. A server that refuses to write is treated as unavailable."""

    wrapper: "DatabaseWrapper"

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        """Raise Django's error in place of the driver's."""
        if exc_type is not None and getattr(exc_value, "sqlstate", None) == READ_ONLY:
            self.wrapper.discard()
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(django.DatabaseWrapper):  # type: ignore[misc]
    """The connection of one thread."""

    connection: Any
    errors_occurred: bool
    ops_class = DatabaseOperations
    waited_seconds = 0.0
    """How long this thread's request has waited for a slot. Subtracted from the time limit of its statements."""
    is_patient = False
    """Whether statements have no deadline: for migrations."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        pool = self.settings_dict["OPTIONS"].get("pool")
        if pool:
            pool["connection_class"] = Connection

    def get_connection_params(self) -> dict[str, Any]:
        """Django's parameters, with loaders written in C. psycopg itself prepares no statements."""
        params: dict[str, Any] = super().get_connection_params()
        params.pop("session_settings", None)
        return {**params, "context": _with_loaders_in_c(params["context"]), "prepare_threshold": None}

    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        """The context manager around each call of the driver."""
        return ErrorWrapper(self)

    def discard(self) -> None:
        """Close this connection, so that no request gets it again. The next connection may reach another server."""
        self.errors_occurred = True
        if self.connection is not None:
            self.connection.close()

    def takes_writes(self) -> bool:
        """Whether the server lets this session write. Closes the connection if not."""
        with self.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only')")
            [(setting,)] = cursor.fetchall()
        if setting == "on":
            self.discard()
        return bool(setting == "off")

    def server_parameters(self) -> dict[str, Any]:
        """Parameters to connect with psycopg, without those that only Django needs."""
        return _without_django(self.get_connection_params())

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect, or take a connection of the pool that works. Connections that the server has closed are replaced.

        The pool's own check sleeps for a second after the second closed connection: 6 of 60 requests failed after all
        connections were killed (decision 0019).
        """
        if watch.is_hanging:
            raise psycopg.OperationalError("the database does not answer")
        watch.connect_by(_without_django(conn_params))
        began_at = time.monotonic()
        connection = self._new_connection(conn_params)
        tries = self.pool.max_size if self.pool else 0
        while tries and not is_alive(connection):
            connection.close()
            self.pool.putconn(connection)
            connection = self._new_connection(conn_params)
            tries -= 1
        connection.taken_from, connection.taken_at = self.pool, time.monotonic()
        self._limit(connection, spent_seconds=connection.taken_at - began_at)
        if not hasattr(connection, "prepared_statements"):  # a connection of the pool keeps its prepared statements
            connection.prepared_statements = PreparedStatements(connection)
        return connection

    def _configure_connection(self, connection: Connection) -> bool:
        """Set the settings of the session in one statement.

        The parameter `options` of the connection would cost nothing, but PgBouncer refuses it (decision 0033).
        """
        super()._configure_connection(connection)
        settings: Mapping[str, str] = self.settings_dict["OPTIONS"].get("session_settings", {})
        if settings:
            calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {calls}", [*chain.from_iterable(settings.items())])
        return True

    def _new_connection(self, conn_params: dict[str, Any]) -> Any:
        if self.pool:
            return super().get_new_connection(conn_params)
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # as Django's backend does
        return Connection.connect(**conn_params)

    def _limit(self, connection: Connection, spent_seconds: float = 0.0) -> None:
        """Limit the statements of this connection to the time that this thread's request has left."""
        if self.is_patient:
            connection.statement.limit_seconds = UNLIMITED
            return
        left_seconds = ANSWER_SECONDS - self.waited_seconds - spent_seconds
        connection.statement.limit_seconds = max(left_seconds, LEAST_SECONDS)

    def be_patient(self) -> None:
        """End the deadlines of this thread's statements. For migrations, not for requests."""
        self.is_patient = True
        if self.connection is not None:
            self._limit(self.connection)

    def detach(self) -> DetachedConnection | None:
        """Take the connection from this thread, so that another thread can `attach` it.

        Returns None if there is none that may be reused: one with errors is closed, one in a transaction stays.
        """
        connection = self.connection
        if connection is None or self.in_atomic_block:
            return None
        is_clean = connection.pgconn.transaction_status == TransactionStatus.IDLE and not self.errors_occurred
        if not is_clean or time.monotonic() - connection.taken_at > MAX_OUTSIDE_POOL_SECONDS:
            self.close()
            return None
        self.connection = None
        return DetachedConnection(connection, time.monotonic())

    def attach(self, detached: DetachedConnection) -> None:
        """Use a connection that was detached from another thread. If it was idle for a second, it is checked first."""
        connection, detached_at = detached
        if time.monotonic() - detached_at > TRUSTED_SECONDS and not is_alive(connection):
            connection.close()
            connection.taken_from.putconn(connection)
            return
        self._limit(connection)
        self.connection = connection
        self.autocommit = True
        self.close_at = None
        self.closed_in_transaction = self.errors_occurred = self.needs_rollback = False

    def create_cursor(self, name: str | None = None) -> Any:
        """Django's cursor without its slow loader of instants. psycopg returns UTC as well, the sessions' time zone."""
        if name:
            return django.ServerSideCursor(self.connection, name=name, scrollable=False, withhold=self.autocommit)
        return self.connection.cursor()

    def _start_transaction_under_autocommit(self) -> None:
        """BEGIN of an atomic block, by one call of libpq (decision 0024).

        The driver's autocommit stays on: to switch it off and on again takes longer.
        """
        with debug_transaction(self, "BEGIN"), self.wrap_database_errors:
            # One call of libpq saves a twentieth of the processor time of a write (decision 0024).
            self.connection.prepared_statements.command(b"BEGIN")

    def _commit(self) -> None:
        """COMMIT, if a transaction has begun."""
        if self.connection is None or self.connection.pgconn.transaction_status == TransactionStatus.IDLE:
            return
        with debug_transaction(self, "COMMIT"), self.wrap_database_errors:
            self.connection.prepared_statements.command(b"COMMIT")

    def _set_autocommit(self, autocommit: bool) -> None:
        if self.connection.autocommit != autocommit:
            super()._set_autocommit(autocommit)

    def prepared_cursor(self, *, as_text: bool = False) -> Any:
        """A cursor for statements whose text does not change. as_text: instants come as the server's text."""
        self.ensure_connection()
        with self.wrap_database_errors:
            return self._prepare_cursor(PreparedCursor(self.connection.prepared_statements, as_text=as_text))

    def prepared_rows(self, sql: str, params: Sequence[Any], *, as_text: bool = False) -> list[tuple[Any, ...]]:
        """All rows of a statement whose text does not change. as_text: instants come as the server's text.

        Bypasses Django's cursor, which would wrap and log each call (decision 0021).
        """
        if self.connection is None:
            self.ensure_connection()
        try:
            statements: PreparedStatements = self.connection.prepared_statements
            return statements.rows(statements.execute(sql, params), as_text=as_text)
        except psycopg.Error:
            # Entered after an error alone, so that other statements do not pay for it (decision 0024).
            with self.wrap_database_errors:
                raise
