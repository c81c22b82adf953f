"""The connection, its pool and its cursors.

Three things cost less than with Django's own: a connection is asked for a sign of life only when there is something to
read on it; instants are loaded in C (Django's loader is Python, its ticket 36960); and the server prepares statements
whose text is fixed.
"""

import select
from functools import lru_cache
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.adapt import AdaptersMap
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.string import TextLoader
from psycopg_pool import ConnectionPool

django: Any = base
"""Its type hints leave out what is to be changed here."""


@lru_cache(maxsize=4)
def _loading_in_c(template: AdaptersMap) -> AdaptersMap:
    adapters = AdaptersMap(template)
    adapters.register_loader("timestamptz", TimestamptzLoader)
    return adapters


class PreparedCursor(psycopg.Cursor[Any]):
    """Has the server prepare what it executes, at the first time. Ids come as text, as answers show them."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        self.adapters.register_loader("uuid", TextLoader)


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


class DatabaseWrapper(django.DatabaseWrapper):  # type: ignore[misc]
    """A connection of one thread."""

    ops_class = DatabaseOperations

    def get_connection_params(self) -> dict[str, Any]:
        """As Django has them, with our loaders. What may be prepared is, at once."""
        params: dict[str, Any] = super().get_connection_params()
        return {**params, "context": _loading_in_c(params["context"]), "prepare_threshold": 0}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """One that works: those in the pool that the server has closed are replaced.

        The pool's own check waits a second after the second such one, so that requests came too late.
        """
        connection = super().get_new_connection(conn_params)
        tries = self.pool.max_size if self.pool else 0
        while tries and not is_alive(connection):
            connection.close()
            self.pool.putconn(connection)
            connection = super().get_new_connection(conn_params)
            tries -= 1
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
        """As Django does, without its loader of instants: that of psycopg gives them in UTC too, as connections are."""
        if name:
            return django.ServerSideCursor(
                self.connection, name=name, scrollable=False, withhold=self.connection.autocommit
            )
        return self.connection.cursor()

    def prepared_cursor(self) -> Any:
        """A cursor for statements of fixed text."""
        self.ensure_connection()
        with self.wrap_database_errors:
            return self._prepare_cursor(PreparedCursor(self.connection))
