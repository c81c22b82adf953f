"""The connection, its pool and its cursors.

Statements have deadlines, for a server that hangs: see `deadlines`.

Four things cost less than with Django's own: a connection is asked for a sign of life only when there is something to
read on it; instants are loaded in C (Django's loader is Python, its ticket 36960); statements of fixed text are
prepared by the server, and executed by one call of libpq; and so are BEGIN and COMMIT.
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
"""Its type hints leave out what is to be changed here."""
PREPARED_AT_MOST = 200
"""Statements that the server keeps for one connection."""
GOOD = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})
STALE = frozenset({b"0A000", b"26000"})
"""What PostgreSQL says of a statement whose columns have another type since, and of one that it does not have."""
READ_ONLY = "25006"
"""What PostgreSQL says when it refuses to write: it is a standby, or its transactions are read-only."""
TRUSTED_SECONDS = 1.0
TAKEN_SECONDS = 600.0
"""For how long a connection goes from one to the next before the pool sees it again, which replaces old ones."""


_OF_DJANGO = frozenset({"context", "cursor_factory"})
"""Parameters of a connection that make values and cursors as Django wants them."""


def _without_django(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in _OF_DJANGO}


class Lent(NamedTuple):
    """A connection without a thread, and since when (`time.monotonic`)."""

    connection: Any
    since: float


@lru_cache(maxsize=4)
def _loading_in_c(template: AdaptersMap) -> AdaptersMap:
    adapters = AdaptersMap(template)
    adapters.register_loader("timestamptz", TimestamptzLoader)
    return adapters


class PreparedStatements:
    """Those of one connection. Ids come as text, as answers show them; instants too, where that is asked for.

    psycopg prepares too, but goes through Python four times as long for each execution, gives the interpreter away
    three times, and forgets all statements at each ROLLBACK.
    """

    def __init__(self, connection: Connection) -> None:
        self._pgconn = connection.pgconn
        self._statement = connection.statement
        self._transformer = _giving_text(connection, "uuid")
        self._giving_instants = _giving_text(connection, "uuid", "timestamptz")
        self._names: OrderedDict[tuple[str, tuple[int, ...]], bytes] = OrderedDict()
        self._stale: Counter[bytes] = Counter()

    def execute(self, sql: str, params: Sequence[Any]) -> PGresult:
        """Its result. Raises the errors of psycopg."""
        transformer = self._transformer
        values: Any = transformer.dump_sequence(params, _as_they_are(len(params)))
        types = transformer.types or ()
        name = self._names.get((sql, types)) or self._prepare(sql, types)
        result = self._exec_prepared(name, values)
        if result.status in GOOD:
            return result
        if result.error_field(DiagnosticField.SQLSTATE) in STALE:
            del self._names[sql, types]
            self._stale[_name(sql, types)] += 1
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
        """Execute what has no values and gives no rows. Raises the errors of psycopg."""
        self._statement.start()
        try:
            result = self._pgconn.exec_(sql)
        finally:
            self._statement.end()
        self._checked(result)

    def rows(self, result: PGresult, *, as_text: bool = False) -> list[tuple[Any, ...]]:
        """All rows of a result. as_text: instants as the server writes them, `2026-01-31 09:30:00.5+00`."""
        transformer = self._giving_instants if as_text else self._transformer
        transformer.set_pgresult(result)
        try:
            rows: list[tuple[Any, ...]] = transformer.load_rows(0, result.ntuples, tuple)
            return rows
        finally:
            transformer.set_pgresult(None)  # else it would be kept until the next one comes

    def _prepare(self, sql: str, types: tuple[int, ...]) -> bytes:
        name = _name(sql, types)
        if times := self._stale[name]:
            name += b"_%d" % times  # the server has the one before it yet
        self._statement.start()
        try:
            result = self._pgconn.prepare(name, _numbered(sql), types)
        finally:
            self._statement.end()
        self._checked(result)
        self._names[sql, types] = name
        while len(self._names) > PREPARED_AT_MOST:
            _, oldest = self._names.popitem(last=False)
            self.command(b"DEALLOCATE " + oldest)
        return name

    def _checked(self, result: PGresult) -> PGresult:
        if result.status in GOOD:
            return result
        if self._pgconn.status == ConnStatus.BAD:
            raise psycopg.OperationalError(self._pgconn.get_error_message("utf-8"))
        raise error_from_result(result, encoding="utf-8")


def _giving_text(connection: psycopg.Connection[Any], *types: str) -> Any:
    """One that leaves values of these types as the server writes them."""
    context = psycopg.Cursor(connection)
    for name in types:
        context.adapters.register_loader(name, TextLoader)
    return Transformer(context)


@lru_cache(maxsize=2000)
def _name(sql: str, types: tuple[int, ...]) -> bytes:
    """The name of a prepared statement: of no other text, and of no other types, whoever prepares it.

    A pooler may give the connection of one client to another: with names that are numbers, one executed the other's.
    """
    # Decision 0033.
    return b"duely_" + blake2b(repr((sql, types)).encode(), digest_size=16).hexdigest().encode()


@lru_cache(maxsize=1000)
def _as_they_are(number: int) -> list[PyFormat]:
    return [PyFormat.AUTO] * number


@lru_cache(maxsize=2000)
def _numbered(sql: str) -> bytes:
    """With `$1`, `$2` for each `%s`."""
    first, *others = sql.split("%s")
    numbered = "".join([first, *(f"${number}{text}" for number, text in enumerate(others, start=1))])
    return numbered.replace("%%", "%").encode()


class PreparedCursor:
    """What Django's cursor wraps to execute prepared statements: of the DB-API (PEP 249) what those need."""

    def __init__(self, statements: PreparedStatements, *, as_text: bool) -> None:
        self._statements, self._as_text = statements, as_text
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        """All rows are there at once."""
        result = self._statements.execute(sql, params)
        self._rows = self._statements.rows(result, as_text=self._as_text) if result.ntuples else []

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Those that are left."""
        rows, self._rows = self._rows, []
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next one, None without."""
        return self._rows.pop(0) if self._rows else None

    def close(self) -> None:
        """Nothing is kept open."""


def is_alive(connection: psycopg.Connection[Any]) -> bool:
    """Whether a connection that nobody uses still works.

    One that the server has closed has something to read: a farewell, or the end. One that has nothing is not asked.
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
    """What Django asks about statements."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> Any:
        """For logs and tests: with values in the text also where they were sent apart from it."""
        if isinstance(cursor, PreparedCursor):
            return self.compose_sql(sql, params)
        return super().last_executed_query(cursor, sql, params)

    def adapt_json_value(self, value: Any, encoder: Any) -> Any:
        """JSON as the driver takes it."""
        return super().adapt_json_value(value, encoder) if encoder else Jsonb(value, dumps=msgspec.json.encode)


class ErrorWrapper(DatabaseErrorWrapper):
    """Turns the driver's errors into Django's. A server that refuses to write counts as one that is out of reach."""

    wrapper: "DatabaseWrapper"

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        """Raise the error of Django for that of the driver."""
        if exc_type is not None and getattr(exc_value, "sqlstate", None) == READ_ONLY:
            self.wrapper.discard()
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(django.DatabaseWrapper):  # type: ignore[misc]
    """A connection of one thread."""

    connection: Any
    errors_occurred: bool
    ops_class = DatabaseOperations
    waited_seconds = 0.0
    """How long the request of this thread has waited already: its statements have as much less time."""
    is_patient = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if pool := self.settings_dict["OPTIONS"].get("pool"):
            pool["connection_class"] = Connection

    def get_connection_params(self) -> dict[str, Any]:
        """As Django has them, with our loaders. psycopg itself prepares nothing."""
        params: dict[str, Any] = super().get_connection_params()
        params.pop("session_settings", None)
        return {**params, "context": _loading_in_c(params["context"]), "prepare_threshold": None}

    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        """What stands around each call of the driver."""
        return ErrorWrapper(self)

    def discard(self) -> None:
        """End the session of this connection, so that nobody gets it again: the next one may reach another server."""
        self.errors_occurred = True
        if self.connection is not None:
            self.connection.close()

    def takes_writes(self) -> bool:
        """Whether the server lets this session write. The session of one that does not is ended."""
        with self.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only')")
            [(setting,)] = cursor.fetchall()
        if setting == "on":
            self.discard()
        return bool(setting == "off")

    def server_parameters(self) -> dict[str, Any]:
        """How to connect, without what Django adds for itself."""
        return _without_django(self.get_connection_params())

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """One that works: those in the pool that the server has closed are replaced.

        The pool's own check waits a second after the second such one, so that requests came too late.
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
        if not hasattr(connection, "prepared_statements"):  # they stay with it in the pool
            connection.prepared_statements = PreparedStatements(connection)
        return connection

    def _configure_connection(self, connection: Connection) -> bool:
        """Set what holds for the whole session, in one statement.

        Not by `options` while connecting: PgBouncer refuses these, as most of what it does not know.
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
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # as Django's does
        return Connection.connect(**conn_params)

    def _limit(self, connection: Connection, spent_seconds: float = 0.0) -> None:
        """Give the statements of this connection the time that the request of this thread has left for one."""
        left_seconds = max(ANSWER_SECONDS - self.waited_seconds - spent_seconds, LEAST_SECONDS)
        connection.statement.limit_seconds = UNLIMITED if self.is_patient else left_seconds

    def be_patient(self) -> None:
        """From now on let statements take as long as the server lets them: for migrations, not for requests."""
        self.is_patient = True
        if self.connection is not None:
            self._limit(self.connection)

    def lend(self) -> Lent | None:
        """Give the connection away, for `adopt` of another thread. None without one that can go on at once."""
        connection = self.connection
        if connection is None or self.in_atomic_block:
            return None
        is_clean = connection.pgconn.transaction_status == TransactionStatus.IDLE and not self.errors_occurred
        if not is_clean or time.monotonic() - connection.taken_at > TAKEN_SECONDS:
            self.close()
            return None
        self.connection = None
        return Lent(connection, time.monotonic())

    def adopt(self, lent: Lent) -> None:
        """Go on with the connection of another thread. One that nobody has used for a moment is looked at first."""
        connection, since = lent
        if time.monotonic() - since > TRUSTED_SECONDS and not is_alive(connection):
            connection.close()
            connection.taken_from.putconn(connection)
            return
        self._limit(connection)
        self.connection = connection
        self.autocommit = True
        self.close_at = None
        self.closed_in_transaction = self.errors_occurred = self.needs_rollback = False

    def create_cursor(self, name: str | None = None) -> Any:
        """As Django does, without its loader of instants: that of psycopg gives them in UTC too, as connections are."""
        if name:
            return django.ServerSideCursor(self.connection, name=name, scrollable=False, withhold=self.autocommit)
        return self.connection.cursor()

    def _start_transaction_under_autocommit(self) -> None:
        """BEGIN, of an atomic block. The driver's autocommit stays on: to turn it off and on again takes it longer."""
        with debug_transaction(self, "BEGIN"), self.wrap_database_errors:
            # One call of libpq saves a twentieth of the processor time of a write (decision 0024).
            self.connection.prepared_statements.command(b"BEGIN")

    def _commit(self) -> None:
        """COMMIT, where a transaction has begun."""
        if self.connection is None or self.connection.pgconn.transaction_status == TransactionStatus.IDLE:
            return
        with debug_transaction(self, "COMMIT"), self.wrap_database_errors:
            self.connection.prepared_statements.command(b"COMMIT")

    def _set_autocommit(self, autocommit: bool) -> None:
        if self.connection.autocommit != autocommit:
            super()._set_autocommit(autocommit)

    def prepared_cursor(self, *, as_text: bool = False) -> Any:
        """A cursor for statements of fixed text."""
        self.ensure_connection()
        with self.wrap_database_errors:
            return self._prepare_cursor(PreparedCursor(self.connection.prepared_statements, as_text=as_text))

    def prepared_rows(self, sql: str, params: Sequence[Any], *, as_text: bool = False) -> list[tuple[Any, ...]]:
        """All rows of a statement of fixed text, past Django's cursors, which log and wrap what they execute."""
        if self.connection is None:
            self.ensure_connection()
        try:
            statements: PreparedStatements = self.connection.prepared_statements
            return statements.rows(statements.execute(sql, params), as_text=as_text)
        except psycopg.Error:
            with self.wrap_database_errors:
                raise
