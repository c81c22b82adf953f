"""Writing rows, column by column.

An action does not write by itself: it makes a `Statement` here and hands it to
`duely.activity.actions.record`, which runs it together with the change-log row.
So no row changes without its entry in the log, and on PostgreSQL both cost one round trip.
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
    """Someone else was first: a conditional statement has written nothing, and neither has what goes with it."""


class Statement(msgspec.Struct, frozen=True):
    """One SQL statement that writes one row, with its values as the database driver takes them.

    is_conditional: writes nothing when the row is not any more what the statement was made from.
    """

    sql: str
    params: tuple[Any, ...]
    is_conditional: bool = False

    def run(self) -> int:
        """Execute it alone; returns the number of rows written."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql, self.params)
            return int(cursor.rowcount)


def build_row(model: type[M], columns: Mapping[str, Any], *, is_stored: bool) -> M:
    """A row of all these columns, by attribute name: as `model(**columns)`, without a call for each of them."""
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

    otherwise: SQL after the values, from the source alone: what to do about those that are there already.
    """
    each = [insert_statement(row) for row in rows]
    head, _, marks = each[0].sql.partition(" VALUES ")
    sql = f"{head} VALUES {', '.join([marks] * len(each))} {otherwise}"
    return Statement(sql, tuple(value for one in each for value in one.params))


def update_statement(row: models.Model, columns: Mapping[str, Any], *, unless_changed: Sequence[str] = ()) -> Statement:
    """The UPDATE of these columns of one row; sets them on `row` too.

    columns: by attribute name, foreign keys as their ids. A full-row `save()` would undo what another request
    changed meanwhile. unless_changed: columns that must still be as `row` has them; for a row that is not locked.
    """
    database, model, key = this_connection(), row.__class__, row._meta.pk
    watched = [(_field(model, name), getattr(row, name)) for name in unless_changed]
    seen = driver_values(watched, database)
    for name, value in columns.items():
        setattr(row, name, value)
    changed = [(_field(model, name), value) for name, value in columns.items()]
    sql = _update_sql(
        row._meta.db_table,
        tuple([field.column for field, _ in changed]),
        str(key.column),
        tuple([(field.column, value is None) for field, value in watched]),
    )
    params = driver_values([*changed, (key, getattr(row, key.attname))], database)
    return Statement(sql, (*params, *[value for value in seen if value is not None]), is_conditional=bool(seen))


@lru_cache(maxsize=512)
def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def driver_value(field: Any, value: Any, database: BaseDatabaseWrapper) -> Any:
    """A value of a column as the database driver takes it: what its field makes of it, which often is the same."""
    [made] = driver_values([(field, value)], database)
    return made


def driver_values(values: Iterable[tuple[Any, Any]], database: BaseDatabaseWrapper) -> list[Any]:
    """Values with their fields, each as `stored`; without a field as it is."""
    on_postgresql = database.vendor == "postgresql"
    as_it_is = _AS_IT_IS if on_postgresql else _TEXT
    made = []
    for field, value in values:
        kinds = (field.__class__, value.__class__)
        # Most fields return these values unchanged, after several Python calls (decision 0024).
        if field is None or kinds in as_it_is or (on_postgresql and kinds == _INSTANT and value.tzinfo is not None):
            made.append(value)
        elif kinds in _JSON:
            made.append(msgspec.json.encode(value).decode())
        elif on_postgresql and kinds in _NUMBERS:
            made.append(database.ops.adapt_integerfield_value(value, field.get_internal_type()))
        else:
            made.append(field.get_db_prep_save(value, database))
    return made


_TEXT = frozenset({(models.CharField, str), (models.TextField, str), (models.CharField, type(None))})
_AS_IT_IS = _TEXT | {
    (models.UUIDField, UUID),
    (models.ForeignKey, UUID),
    (models.DateField, date),
    (models.UUIDField, type(None)),
    (models.ForeignKey, type(None)),
    (models.DateTimeField, type(None)),
    (models.DateField, type(None)),
}
"""Kinds of fields and of values that PostgreSQL's driver takes as they are."""
_INSTANT = (models.DateTimeField, datetime)
_JSON = frozenset({(models.JSONField, list), (models.JSONField, dict)})
_NUMBERS = frozenset({(models.IntegerField, int), (models.SmallIntegerField, int), (models.BigIntegerField, int)})


def delete_statement(row: models.Model) -> Statement:
    """The DELETE of one row."""
    sql = f"DELETE FROM {_quoted(row._meta.db_table)} WHERE {_quoted(str(row._meta.pk.column))} = %s"  # noqa: S608
    return Statement(sql, (driver_value(row._meta.pk, row.pk, this_connection()),))


def run_all(statements: Sequence[Statement]) -> None:
    """Execute them in their order. Those that are alike but for their values, and side by side, cost one round trip."""
    with connection.cursor() as cursor:
        for sql, alike in itertools.groupby(statements, key=lambda statement: statement.sql):
            params = [statement.params for statement in alike]
            if len(params) == 1:
                cursor.execute(sql, params[0])
            else:
                cursor.executemany(sql, params)  # in a pipeline


@lru_cache(maxsize=64)
def _insert_sql(model: type[models.Model]) -> str:
    columns = [_quoted(str(field.column)) for field in model._meta.local_concrete_fields]
    marks = ", ".join(["%s"] * len(columns))
    return f"INSERT INTO {_quoted(model._meta.db_table)} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608


@lru_cache(maxsize=512)
def _update_sql(table: str, columns: tuple[str, ...], key: str, seen: tuple[tuple[str, bool], ...]) -> str:
    """seen: the columns that must be as they were, each with whether that is null."""
    values = ", ".join(f"{_quoted(column)} = %s" for column in columns)
    same = "".join(f" AND {_quoted(column)} {'IS NULL' if is_null else '= %s'}" for column, is_null in seen)
    return f"UPDATE {_quoted(table)} SET {values} WHERE {_quoted(key)} = %s{same}"  # noqa: S608


def _quoted(name: str) -> str:
    """An identifier of ours, in quotes that both databases take."""
    return f'"{name}"'


def this_connection() -> BaseDatabaseWrapper:
    """This thread's connection itself: every use of `django.db.connection` looks it up anew, by five calls."""
    found: BaseDatabaseWrapper | None = getattr(_mine, "connection", None)
    if found is None:
        found = _mine.connection = connections[DEFAULT_DB_ALIAS]
    return found


_mine = threading.local()
