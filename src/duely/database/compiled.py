"""A cache of compiled queries (decision 0019).

It costs more to build a queryset and its SQL than to execute it. Requests differ mostly in their values. So the SQL is
cached by the shape of the condition, PostgreSQL prepares it, and the rows are not turned into models.

Ids come as text, as answers show them. Instants come as text too in columns that are only shown. All other values are
the same as from the queryset's `values_list`.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from typing import Any, cast

import msgspec
from django.db import OperationalError, connection
from django.db.models import DateTimeField, Expression, JSONField, Model, Q, QuerySet

from duely.core.clock import as_shown
from duely.core.scopes import Scope
from duely.core.settings import setting
from duely.database.statements import driver_values, this_connection

Condition = Q | tuple[str, Any]
"""A pair of a lookup and its value, or a Q of such pairs."""

Row = tuple[Any, ...]

Rows = QuerySet[Any, Any]

Loader = Callable[[Sequence[Any]], Sequence[Any]]
"""Converts the driver's values of one column."""

LOOKUPS = frozenset({"exact", "gt", "gte", "lt", "lte", "in", "isnull", "has_item"})
"""Lookups that compile to the same SQL for every value."""

MAX_QUERIES = 1000
"""Compiled queries in the cache. A limit, because clients can combine orderings, page sizes and filters at will."""

MAX_RECONNECTS = 3
"""How often one statement may get another connection."""


class NotCompilable(Exception):
    """The SQL of this condition depends on more than its shape. Use the queryset instead."""


def within(rows: Rows, scope: Scope, *, column: str = "owner_id") -> Rows:
    """These rows, without those outside the scope. column: the one with the owner's id."""
    return rows.filter(*map(_as_q, scope.conditions(column)))


class Visible(msgspec.Struct, frozen=True):
    """The rows that a caller may see: the rows of `all_rows` within `scope` that meet all `conditions`.

    all_rows: a function of a module that returns the same rows for every caller; it is part of the cache's key.
    """

    all_rows: Callable[[], Rows]
    scope: Scope
    conditions: tuple[Condition, ...] = ()

    def rows(self) -> Rows:
        """The visible rows as a queryset."""
        return within(self.all_rows().filter(*map(_as_q, self.conditions)), self.scope)

    def select(
        self, where: Iterable[Condition], key: Hashable, finish: Callable[[Rows], Rows], *, shown: int = 0
    ) -> list[Row]:
        """The visible rows that meet further conditions too. Executes one statement.

        finish: selects the columns of the queryset, orders and cuts it. key: everything that `finish` depends on; the
        same key with another `finish` would return the columns of the first one.
        shown: the number of columns, from the first, whose instants come as text (`duely.core.clock.rfc3339`).
        Raises NotCompilable if the SQL of a condition depends on more than its shape.
        """
        conditions = (*self.conditions, *self.scope.conditions(), *where)
        values: list[Any] = []
        database = this_connection()
        shapes = [_shape(condition, values) for condition in conditions]
        cache_key = (database.vendor, self.all_rows, key, shown, *shapes)
        # With a queryset a list took 2.7 ms, of which the database needed 0.2 (decision 0019).
        query = _queries.get(cache_key)
        if query is None:
            rows, numbers = self.all_rows(), count()
            filters = [_with_placeholders(_as_q(condition), rows.model, numbers) for condition in conditions]
            query = _queries[cache_key] = _compile(finish(rows.filter(*filters)), shown)
            if len(_queries) > MAX_QUERIES:
                _queries.popitem(last=False)
        params = driver_values([(field, values[number]) for number, field in query.placeholders], database)
        return _load(read_rows(query.sql, params, as_text=shown > 0), query.loaders)


class Placeholder(Expression):
    """The place of a value in a compiled query."""

    def __init__(self, number: int, field: Any) -> None:
        super().__init__(output_field=field)
        self.number, self.column = number, field

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """A placeholder of SQL, with this object as its value: `_compile` finds the order of the values by it."""
        return "%s", [self]


@dataclass(frozen=True, slots=True)
class _Query:
    """A compiled query.

    placeholders: for each `%s` of the SQL, the number of its value in the condition, and its field.
    loaders: for each loader, the positions of its columns.
    """

    sql: str
    placeholders: tuple[tuple[int, Any], ...]
    loaders: tuple[tuple[Loader, tuple[int, ...]], ...]


_queries: OrderedDict[Hashable, _Query] = OrderedDict()


def read_rows(sql: str, params: Sequence[Any], *, as_text: bool = False) -> list[Row]:
    """The rows of a statement that only reads. as_text: instants come as the database's text.

    If the server has closed the connection, the statement is repeated on another one, which the server may have closed
    too. So this happens up to MAX_RECONNECTS times, but not within a transaction, whose earlier statements are lost.
    """
    database: Any = this_connection()
    for _ in range(MAX_RECONNECTS):
        try:
            return fetch_rows(database, sql, params, as_text=as_text)
        except OperationalError:
            if database.connection is None or database.in_atomic_block or database.is_usable():
                raise
            database.close()
    return fetch_rows(database, sql, params, as_text=as_text)


def fetch_rows(database: Any, sql: str, params: Sequence[Any], *, as_text: bool = False) -> list[Row]:
    """The rows of a statement whose text does not change. It is executed once, so it may also write.

    Bypasses Django's cursor unless something observes the statements: DEBUG, captured queries, or wrappers.
    """
    if not (database.force_debug_cursor or setting("DEBUG") or database.execute_wrappers):
        rows: list[Row] = database.prepared_rows(sql, params, as_text=as_text)
        return rows
    with database.prepared_cursor(as_text=as_text) as cursor:
        cursor.execute(sql, params)
        return cast("list[Row]", cursor.fetchall())


def _shape(condition: Condition, values: list[Any]) -> Hashable:
    """A condition without its values, which are appended to the list."""
    if not isinstance(condition, tuple):
        shapes: list[Hashable] = [condition.connector, condition.negated]
        for child in condition.children:
            if not isinstance(child, Q | tuple):
                raise NotCompilable(child)
            shapes.append(_shape(child, values))
        return tuple(shapes)
    path, value = condition
    lookup = _lookup(path)
    if lookup == "isnull":
        return condition
    if lookup == "in":
        values.extend(value)
        return path, len(value)
    if value is None or hasattr(value, "resolve_expression"):  # their SQL differs
        raise NotCompilable(path)
    values.append(value)
    return path


def _as_q(condition: Condition) -> Q:
    return Q(condition) if isinstance(condition, tuple) else condition


@lru_cache(maxsize=1000)
def _lookup(path: str) -> str:
    lookup = path.partition("__")[2] or "exact"
    if lookup not in LOOKUPS:
        raise NotCompilable(path)
    return lookup


def _with_placeholders(condition: Q, model: type[Model], numbers: Iterator[int]) -> Q:
    """The condition with placeholders for its values, numbered in the order of `_shape`."""
    copy = Q(_connector=condition.connector, _negated=condition.negated)
    for child in condition.children:
        if isinstance(child, Q):
            copy.children.append(_with_placeholders(child, model, numbers))
        else:
            path, value = cast("tuple[str, Any]", child)
            copy.children.append((path, _placeholders(path, value, model, numbers)))
    return copy


def _placeholders(path: str, value: Any, model: type[Model], numbers: Iterator[int]) -> Any:
    name, lookup = path.partition("__")[0], _lookup(path)
    field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    if lookup == "isnull":
        return value
    if lookup == "in":
        if field.is_relation:  # Django needs the values to compile this lookup
            raise NotCompilable(path)
        return [Placeholder(next(numbers), field) for _ in value]
    return Placeholder(next(numbers), None if lookup == "has_item" else field)


def _compile(rows: Rows, shown: int) -> _Query:
    compiler = rows.query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    # Any other parameter is a value of `all_rows`. If it belonged to one user, the next one would get that user's rows.
    if not all(isinstance(param, Placeholder) for param in params):
        raise NotCompilable(sql)
    positions: dict[Loader, list[int]] = {}
    for position, (expression, *_) in enumerate(compiler.select):
        loader = _loader(expression.output_field, position, shown)
        if loader is not None:
            positions.setdefault(loader, []).append(position)
    return _Query(
        sql,
        tuple((param.number, param.column) for param in params),
        tuple((loader, tuple(columns)) for loader, columns in positions.items()),
    )


def _loader(field: Any, position: int, shown: int) -> Loader | None:
    """The loader of a column. None if the driver's values need no conversion."""
    if isinstance(field, JSONField):
        return _load_json
    on_postgresql = connection.vendor == "postgresql"
    if isinstance(field, DateTimeField):
        if position < shown:
            return _show_instants if on_postgresql else _show_sqlite_instants
        if on_postgresql:
            return _load_instants if shown else None  # as_text concerns all instants of a statement
        return _load_sqlite_instants
    return None if on_postgresql else _SQLITE_LOADERS.get(field.get_internal_type())


def _load_json(texts: Sequence[Any]) -> Sequence[Any]:
    # Most lists are empty: it is cheaper to compare than to decode.
    return [text if text is None else [] if text == "[]" else msgspec.json.decode(text) for text in texts]


def _show_instants(texts: Sequence[Any]) -> Sequence[Any]:
    """Instants in the form of `rfc3339`, cut from PostgreSQL's text `2026-01-31 09:30:00.512+00`.

    Takes 0.4 instead of 1.1 microseconds for each instant (decision 0024).
    """
    # The usual forms are converted here, because a call for each value would take longer than the conversion.
    return [
        text
        if text is None
        else f"{text[:10]}T{text[11:23]}Z"
        if len(text) == LENGTH_WITH_MILLISECONDS
        else _pad_milliseconds(text)
        for text in texts
    ]


def _pad_milliseconds(text: str) -> str:
    """An instant in the form of `rfc3339`. PostgreSQL omits zeros at the end of its fraction."""
    time, _, fraction = text[11:-3].partition(".")
    return f"{text[:10]}T{time}.{fraction[:3]:0<3}Z"


def _load_instants(texts: Sequence[Any]) -> Sequence[Any]:
    return [text if text is None else datetime.fromisoformat(text) for text in texts]


def _add_dashes(texts: Sequence[Any]) -> Sequence[Any]:
    """Ids in the form of answers. SQLite stores the 32 hexadecimal digits."""
    return [
        text if text is None else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" for text in texts
    ]


def _load_sqlite_instants(values: Sequence[Any]) -> Sequence[Any]:
    return [value if value is None else value.replace(tzinfo=UTC) for value in values]


def _show_sqlite_instants(values: Sequence[Any]) -> Sequence[Any]:
    return as_shown(_load_sqlite_instants(values))


LENGTH_WITH_MILLISECONDS = len("2026-01-31 09:30:00.512+00")

_SQLITE_LOADERS: dict[str, Loader] = {"UUIDField": _add_dashes, "ForeignKey": _add_dashes}


def _load(rows: list[Row], loaders: tuple[tuple[Loader, tuple[int, ...]], ...]) -> list[Row]:
    """The rows with converted values. Converts whole columns, because a call for each value would cost more."""
    if not (rows and loaders):
        return rows
    if len(rows) == 1:
        values = list(rows[0])
        for loader, positions in loaders:
            converted = loader([values[position] for position in positions])
            for position, value in zip(positions, converted, strict=True):
                values[position] = value
        return [tuple(values)]
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for loader, positions in loaders:
        for position in positions:
            columns[position] = loader(columns[position])
    return list(zip(*columns, strict=True))


def model_columns(model: type[Model]) -> tuple[str, ...]:
    """The names of all columns of a model, foreign keys as their ids."""
    return tuple(column.attname for column in model._meta.concrete_fields)
