"""Statements that write rows, column by column (decision 0003).

An action does not write a row itself. It makes a `Statement` here and passes it to `duely.activity.actions.record`,
which executes it together with the INSERT of the log entry. So no row changes without an entry in the log, and on
PostgreSQL both cost one round trip.
"""

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.base import ModelState

M = TypeVar("M", bound=models.Model)


class RowChanged(Exception):
    """Another request changed the row first. The conditional statement and those that belong to it wrote nothing."""


class Statement(msgspec.Struct, frozen=True):
    """One SQL statement that writes rows, with values for the database driver.

    is_conditional: the statement writes nothing if the row has changed since it was read.
    """

    sql: str
    params: tuple[Any, ...]
    is_conditional: bool = False

    def run(self) -> int:
        """Execute the statement alone. Returns the number of rows that it wrote."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql, self.params)
            return int(cursor.rowcount)


def build_row(model: type[M], columns: Mapping[str, Any], *, is_stored: bool) -> M:
    """A model instance with these columns, by attribute name; all columns must be given.

    Django's `model(**columns)` does the same with several calls for each column (decision 0024).
    """
    row = model.__new__(model)
    state = ModelState()
    if is_stored:
        state.adding, state.db = False, DEFAULT_DB_ALIAS
    vars(row).update(columns, _state=state)
    return row


def insert_statement(row: models.Model) -> Statement:
    """The INSERT of a new row, all columns."""
    database = this_connection()
    columns = vars(row)
    values = driver_values([(field, columns[field.attname]) for field in row._meta.local_concrete_fields], database)
    return Statement(_insert_sql(row.__class__), tuple(values))


def bulk_insert_statement(rows: Sequence[models.Model], *, otherwise: str = "") -> Statement:
    """The INSERT of several new rows of one table, all columns.

    otherwise: an ON CONFLICT clause for rows that exist. It is not escaped, so it must not contain input.
    """
    inserts = [insert_statement(row) for row in rows]
    head, _, placeholders = inserts[0].sql.partition(" VALUES ")
    sql = f"{head} VALUES {', '.join([placeholders] * len(inserts))} {otherwise}"
    return Statement(sql, tuple(itertools.chain.from_iterable(insert.params for insert in inserts)))


def update_statement(row: models.Model, columns: Mapping[str, Any], *, unless_changed: Sequence[str] = ()) -> Statement:
    """The UPDATE of these columns of one row. Sets them on `row` too.

    columns: by attribute name, foreign keys as ids. A `save()` of all columns would undo concurrent changes of others.
    unless_changed: columns that must have the same value as in `row`, else nothing is written. For rows that are not
    locked (decision 0021).
    """
    database, model, key = this_connection(), row.__class__, row._meta.pk
    expected = [(_field(model, name), getattr(row, name)) for name in unless_changed]
    expected_values = driver_values(expected, database)
    for name, value in columns.items():
        setattr(row, name, value)
    changed = [(_field(model, name), value) for name, value in columns.items()]
    sql = _update_sql(
        row._meta.db_table,
        tuple([field.column for field, _ in changed]),
        str(key.column),
        tuple([(field.column, value is None) for field, value in expected]),
    )
    params = driver_values([*changed, (key, getattr(row, key.attname))], database)
    params += [value for value in expected_values if value is not None]
    return Statement(sql, tuple(params), is_conditional=bool(expected))


@lru_cache(maxsize=512)
def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def driver_value(field: Any, value: Any, database: BaseDatabaseWrapper) -> Any:
    """A value of a column in the form that the database driver needs."""
    [converted] = driver_values([(field, value)], database)
    return converted


def driver_values(values: Iterable[tuple[Any, Any]], database: BaseDatabaseWrapper) -> list[Any]:
    """The values of pairs of a field and a value, as `driver_value` returns them. Without a field, values stay."""
    on_postgresql = database.vendor == "postgresql"
    unchanged = _UNCHANGED_ON_POSTGRESQL if on_postgresql else _UNCHANGED
    converted = []
    for field, value in values:
        kinds = (field.__class__, value.__class__)
        # Most fields return these values unchanged, after several Python calls (decision 0024).
        if field is None or kinds in unchanged or (on_postgresql and kinds == _INSTANT and value.tzinfo is not None):
            converted.append(value)
        elif kinds in _JSON:
            converted.append(msgspec.json.encode(value).decode())
        elif on_postgresql and kinds in _NUMBERS:
            converted.append(database.ops.adapt_integerfield_value(value, field.get_internal_type()))
        else:
            converted.append(field.get_db_prep_save(value, database))
    return converted


_UNCHANGED = frozenset({(models.CharField, str), (models.TextField, str), (models.CharField, type(None))})
_UNCHANGED_ON_POSTGRESQL = _UNCHANGED | {
    (models.UUIDField, UUID),
    (models.ForeignKey, UUID),
    (models.DateField, date),
    (models.UUIDField, type(None)),
    (models.ForeignKey, type(None)),
    (models.DateTimeField, type(None)),
    (models.DateField, type(None)),
}
"""Classes of a field and a value that need no conversion. A test compares them with Django's conversion."""
_INSTANT = (models.DateTimeField, datetime)
_JSON = frozenset({(models.JSONField, list), (models.JSONField, dict)})
_NUMBERS = frozenset({(models.IntegerField, int), (models.SmallIntegerField, int), (models.BigIntegerField, int)})


def delete_statement(row: models.Model) -> Statement:
    """The DELETE of one row."""
    sql = f"DELETE FROM {_quoted(row._meta.db_table)} WHERE {_quoted(str(row._meta.pk.column))} = %s"  # noqa: S608
    return Statement(sql, (driver_value(row._meta.pk, row.pk, this_connection()),))


def run_all(statements: Sequence[Statement]) -> None:
    """Execute statements in this order. Adjacent statements of the same SQL cost one round trip."""
    with connection.cursor() as cursor:
        for sql, group in itertools.groupby(statements, key=lambda statement: statement.sql):
            params = [statement.params for statement in group]
            if len(params) == 1:
                cursor.execute(sql, params[0])
            else:
                cursor.executemany(sql, params)  # psycopg sends them in a pipeline


@lru_cache(maxsize=64)
def _insert_sql(model: type[models.Model]) -> str:
    columns = [_quoted(str(field.column)) for field in model._meta.local_concrete_fields]
    placeholders = ", ".join(["%s"] * len(columns))
    return f"INSERT INTO {_quoted(model._meta.db_table)} ({', '.join(columns)}) VALUES ({placeholders})"  # noqa: S608


@lru_cache(maxsize=512)
def _update_sql(table: str, columns: tuple[str, ...], key: str, expected: tuple[tuple[str, bool], ...]) -> str:
    """expected: the columns that must not have changed, each with whether its expected value is null."""
    values = ", ".join(f"{_quoted(column)} = %s" for column in columns)
    unchanged = "".join(f" AND {_quoted(column)} {'IS NULL' if is_null else '= %s'}" for column, is_null in expected)
    return f"UPDATE {_quoted(table)} SET {values} WHERE {_quoted(key)} = %s{unchanged}"  # noqa: S608


def _quoted(name: str) -> str:
    """An identifier of our schema, in the quotes of both databases."""
    return f'"{name}"'


def this_connection() -> BaseDatabaseWrapper:
    """The connection of this thread. `django.db.connection` needs five calls for each access (decision 0024)."""
    database: BaseDatabaseWrapper | None = getattr(_thread, "connection", None)
    if database is None:
        database = _thread.connection = connections[DEFAULT_DB_ALIAS]
    return database


_thread = threading.local()
