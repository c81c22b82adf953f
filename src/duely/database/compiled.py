"""Queries that are compiled once for each shape, and then only filled with values.

Building a queryset and its SQL costs more than to run it. What differs from one request to the next are values: so the
text is kept by the shape of the condition, PostgreSQL keeps its plan (`prepare`), and rows come without a detour
through models. Ids come as text, as answers show them, and of columns that are only shown instants do too; everything
else as from the queryset's `values_list`.
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
from duely.core.settings import setting
from duely.database.statements import driver_values, this_connection

Condition = Q | tuple[str, Any]
"""A lookup and its value, or what is made of such pairs."""


Row = tuple[Any, ...]


Rows = QuerySet[Any, Any]


Loader = Callable[[Sequence[Any]], Sequence[Any]]
"""Makes the values of a column of what the driver gives."""


LOOKUPS = frozenset({"exact", "gt", "gte", "lt", "lte", "in", "isnull", "has_item"})
"""Those that compile to the same text for every value."""


MOST = 1000
"""Shapes kept: orderings, page sizes and filters may be combined at will."""


REPLACED_AT_MOST = 3
"""Connections, for one statement."""


class NotCompilable(Exception):
    """This condition has something in it that is not only values: run its queryset as it is."""


class Seen(msgspec.Struct, frozen=True):
    """What a caller may see: those rows of `all_rows` that meet all `conditions`.

    all_rows: a function of a module, which gives the same rows to everyone; it is part of what a query is known by.
    """

    all_rows: Callable[[], Rows]
    conditions: tuple[Condition, ...]

    def rows(self) -> Rows:
        """As a queryset."""
        return self.all_rows().filter(*map(_as_q, self.conditions))

    def select(
        self, where: Iterable[Condition], key: Hashable, finish: Callable[[Rows], Rows], *, shown: int = 0
    ) -> list[Row]:
        """Those that meet further conditions too. Costs one statement.

        finish: makes the queryset of columns of these rows, ordered and cut. key: all that this depends on.
        shown: of so many columns, the first, instants are given as text (`duely.core.clock.rfc3339`).
        Raises NotCompilable for a condition of other than plain values.
        """
        conditions = (*self.conditions, *where)
        values: list[Any] = []
        database = this_connection()
        whole = (database.vendor, self.all_rows, key, shown, *[_shape(condition, values) for condition in conditions])
        # With a queryset a list took 2.7 ms, of which the database needed 0.2 (decision 0019).
        query = _queries.get(whole)
        if query is None:
            rows, numbers = self.all_rows(), count()
            slotted = [_slotted(_as_q(condition), rows.model, numbers) for condition in conditions]
            query = _queries[whole] = _compiled(finish(rows.filter(*slotted)), shown)
            if len(_queries) > MOST:
                _queries.popitem(last=False)
        params = driver_values([(field, values[number]) for number, field in query.slots], database)
        return _loaded(read_rows(query.sql, params, as_text=shown > 0), query.loaders)


class Slot(Expression):
    """Stands for a value that is yet to come."""

    def __init__(self, number: int, field: Any) -> None:
        super().__init__(output_field=field)
        self.number, self.column = number, field

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """A mark, and itself as the value."""
        return "%s", [self]


@dataclass(frozen=True, slots=True)
class _Query:
    """sql; of each mark in it the number of its value, and the field whose values these are; what loads columns."""

    sql: str
    slots: tuple[tuple[int, Any], ...]
    loaders: tuple[tuple[Loader, tuple[int, ...]], ...]


_queries: OrderedDict[Hashable, _Query] = OrderedDict()


def read_rows(sql: str, params: Sequence[Any], *, as_text: bool = False) -> list[Row]:
    """What a statement that only reads finds. as_text: instants as the database has them.

    A connection that was closed since it was last looked at is replaced, by one that may be closing just now: so that
    is done a few times. To ask again does no harm, but for what a transaction did before.
    """
    database: Any = this_connection()
    for _ in range(REPLACED_AT_MOST):
        try:
            return fetch_rows(database, sql, params, as_text=as_text)
        except OperationalError:
            if database.connection is None or database.in_atomic_block or database.is_usable():
                raise
            database.close()
    return fetch_rows(database, sql, params, as_text=as_text)


def fetch_rows(database: Any, sql: str, params: Sequence[Any], *, as_text: bool = False) -> list[Row]:
    """What a statement of fixed text gives. Directly, where the backend can, and nobody wants to see it executed."""
    if not (database.force_debug_cursor or setting("DEBUG") or database.execute_wrappers):
        rows: list[Row] = database.prepared_rows(sql, params, as_text=as_text)
        return rows
    with database.prepared_cursor(as_text=as_text) as cursor:
        cursor.execute(sql, params)
        return cast("list[Row]", cursor.fetchall())


def _shape(condition: Condition, values: list[Any]) -> Hashable:
    """What remains of a condition without its values, which go to the list."""
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
    if value is None or hasattr(value, "resolve_expression"):  # another text
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


def _slotted(condition: Q, model: type[Model], numbers: Iterator[int]) -> Q:
    """The condition with slots for its values, in the order of `_shape`."""
    made = Q(_connector=condition.connector, _negated=condition.negated)
    for child in condition.children:
        if isinstance(child, Q):
            made.children.append(_slotted(child, model, numbers))
        else:
            path, value = cast("tuple[str, Any]", child)
            made.children.append((path, _slots(path, value, model, numbers)))
    return made


def _slots(path: str, value: Any, model: type[Model], numbers: Iterator[int]) -> Any:
    name, lookup = path.partition("__")[0], _lookup(path)
    field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    if lookup == "isnull":
        return value
    if lookup == "in":
        if field.is_relation:  # for these Django wants values
            raise NotCompilable(path)
        return [Slot(next(numbers), field) for _ in value]
    return Slot(next(numbers), None if lookup == "has_item" else field)


def _compiled(rows: Rows, shown: int) -> _Query:
    compiler = rows.query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    if not all(isinstance(param, Slot) for param in params):
        raise NotCompilable(sql)
    places: dict[Loader, list[int]] = {}
    for place, (expression, *_) in enumerate(compiler.select):
        loader = _loader(expression.output_field, place, shown)
        if loader is not None:
            places.setdefault(loader, []).append(place)
    return _Query(
        sql,
        tuple((param.number, param.column) for param in params),
        tuple((loader, tuple(where)) for loader, where in places.items()),
    )


def _loader(field: Any, place: int, shown: int) -> Loader | None:
    """That of a column; None for one that comes from the driver as it should be."""
    if isinstance(field, JSONField):
        return _json
    on_postgresql = connection.vendor == "postgresql"
    if isinstance(field, DateTimeField):
        if place < shown:
            return _shown if on_postgresql else _shown_of_sqlite
        if on_postgresql:
            return _read if shown else None  # where some are shown, all come as text
        return _instants_of_sqlite
    return None if on_postgresql else _OF_SQLITE.get(field.get_internal_type())


def _json(texts: Sequence[Any]) -> Sequence[Any]:
    return [text if text is None else [] if text == "[]" else msgspec.json.decode(text) for text in texts]


def _shown(texts: Sequence[Any]) -> Sequence[Any]:
    """As `rfc3339`: from what PostgreSQL writes, `2026-01-31 09:30:00.512+00`, where zeros at the end are left out."""
    return [
        text if text is None else f"{text[:10]}T{text[11:23]}Z" if len(text) == WITH_MILLISECONDS else _filled(text)
        for text in texts
    ]


def _filled(text: str) -> str:
    time, _, fraction = text[11:-3].partition(".")
    return f"{text[:10]}T{time}.{fraction[:3]:0<3}Z"


def _read(texts: Sequence[Any]) -> Sequence[Any]:
    return [text if text is None else datetime.fromisoformat(text) for text in texts]


def _dashed(texts: Sequence[Any]) -> Sequence[Any]:
    return [
        text if text is None else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" for text in texts
    ]


def _instants_of_sqlite(values: Sequence[Any]) -> Sequence[Any]:
    return [value if value is None else value.replace(tzinfo=UTC) for value in values]


def _shown_of_sqlite(values: Sequence[Any]) -> Sequence[Any]:
    return as_shown(_instants_of_sqlite(values))


WITH_MILLISECONDS = len("2026-01-31 09:30:00.512+00")


_OF_SQLITE: dict[str, Loader] = {"UUIDField": _dashed, "ForeignKey": _dashed}
"""SQLite knows no ids."""


def _loaded(rows: list[Row], loaders: tuple[tuple[Loader, tuple[int, ...]], ...]) -> list[Row]:
    """Many values at once: a call for each value would take longer than what it does."""
    if not (rows and loaders):
        return rows
    if len(rows) == 1:
        values = list(rows[0])
        for loader, places in loaders:
            for place, value in zip(places, loader([values[place] for place in places]), strict=True):
                values[place] = value
        return [tuple(values)]
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for loader, places in loaders:
        for place in places:
            columns[place] = loader(columns[place])
    return list(zip(*columns, strict=True))


def model_columns(model: type[Model]) -> tuple[str, ...]:
    """The names of all columns of a model, foreign keys as their ids."""
    return tuple(column.attname for column in model._meta.concrete_fields)
