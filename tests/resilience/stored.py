"""What the database holds, read without the product's code, and whether the database itself is sound."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

Query = Callable[[str], list[tuple[Any, ...]]]

SQLITE = "sqlite:///"
CLOSE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A row of tasks_task."""

    id: UUID
    owner: UUID
    title: str
    status: str
    category: UUID | None
    version: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """A row of tasks_category."""

    id: UUID
    owner: UUID
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of the change log."""

    owner: UUID
    seq: int
    action: str
    target_type: str
    target: UUID | None
    request_id: str
    changes: dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything that a run is judged by. `log` is in order of owner and seq."""

    tasks: dict[UUID, TaskRow]
    categories: dict[UUID, CategoryRow]
    log: list[LogRow]
    counters: dict[UUID, int]
    owners: dict[str, UUID]


@contextmanager
def opened(url: str) -> Iterator[Query]:
    """Ask the database of this DATABASE_URL directly."""
    if url.startswith(SQLITE):
        with closing(sqlite3.connect(url.removeprefix(SQLITE), timeout=10)) as file:
            yield lambda sql: file.execute(sql).fetchall()
        return
    import psycopg

    with psycopg.connect(url, autocommit=True) as server:

        def ask(sql: str) -> list[tuple[Any, ...]]:
            cursor = server.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

        yield ask


def read(ask: Query) -> Stored:
    """Read it all."""
    tasks = ask("SELECT id, owner_id, title, status, category_id, version, deleted_at IS NOT NULL FROM tasks_task")
    categories = ask("SELECT id, owner_id, name, version FROM tasks_category")
    log = ask(
        "SELECT owner_id, seq, action, target_type, target_id, request_id, changes"
        " FROM activity_change ORDER BY owner_id, seq"
    )
    return Stored(
        tasks={
            _uuid(id_): TaskRow(
                _uuid(id_), _uuid(owner), title, status, _uuid_or_none(category), version, bool(deleted)
            )
            for id_, owner, title, status, category, version, deleted in tasks
        },
        categories={
            _uuid(id_): CategoryRow(_uuid(id_), _uuid(owner), name, version) for id_, owner, name, version in categories
        },
        log=[
            LogRow(_uuid(owner), seq, action, type_, _uuid_or_none(target), request_id, _json(changes))
            for owner, seq, action, type_, target, request_id, changes in log
        ],
        counters={_uuid(owner): seq for owner, seq in ask("SELECT owner_id, seq FROM activity_counter")},
        owners={username: _uuid(id_) for username, id_ in ask("SELECT username, id FROM accounts_user")},
    )


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _uuid_or_none(value: Any) -> UUID | None:
    return None if value is None else _uuid(value)


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Check:
    """One look at the database itself. `result` is "ok", or says what is wrong, or why it could not be done."""

    name: str
    result: str
    sound: bool


def examine(url: str) -> list[Check]:
    """Every integrity check that this database offers. The service must be stopped."""
    with opened(url) as ask:
        return list(_examine_sqlite(ask) if url.startswith(SQLITE) else _examine_postgres(ask))


def _examine_sqlite(ask: Query) -> Iterator[Check]:
    for name, expected in (("integrity_check", [("ok",)]), ("foreign_key_check", []), ("journal_mode", [("wal",)])):
        found = ask(f"PRAGMA {name}")
        sound = found == expected
        yield Check(name, "ok" if sound else str(found[:5]), sound)


def _examine_postgres(ask: Query) -> Iterator[Check]:
    yield _closed_connections(ask)
    yield _from_rows("constraints", ask("SELECT conrelid::regclass, conname FROM pg_constraint WHERE NOT convalidated"))
    yield _from_rows(
        "indexes valid", ask("SELECT indexrelid::regclass FROM pg_index WHERE NOT (indisvalid AND indisready)")
    )
    yield _from_rows("foreign keys", _orphans(ask))
    if ask("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"):
        ask("CREATE EXTENSION IF NOT EXISTS amcheck")
        yield _from_rows("amcheck", _amcheck(ask))
        return
    yield Check("amcheck", "not part of this server; every index is compared with its table instead", sound=True)
    faults, unread = _compare_indexes(ask)
    check = _from_rows("indexes agree with tables", faults)
    yield replace(check, result=f"{check.result}; not read: {', '.join(unread)}") if unread else check


def _from_rows(name: str, faults: list[Any]) -> Check:
    return Check(name, str(faults[:5]) if faults else "ok", not faults)


def _closed_connections(ask: Query) -> Check:
    """The server must notice that the killed clients are gone, and undo what they left open."""
    deadline = time.monotonic() + CLOSE_SECONDS
    while True:
        left = ask("SELECT pid, state, query FROM pg_stat_activity WHERE application_name = 'duely'")
        if not left or time.monotonic() > deadline:
            return _from_rows("no connection left open", left)
        time.sleep(0.2)


def _orphans(ask: Query) -> list[Any]:
    """Rows whose foreign key leads nowhere, for each foreign key of one column."""
    keys = ask(
        "SELECT c.conname, c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text, f.attname"
        " FROM pg_constraint c"
        " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]"
        " WHERE c.contype = 'f' AND cardinality(c.conkey) = 1"
    )
    faults = []
    for name, table, column, parent, key in keys:
        ((number,),) = ask(
            f'SELECT count(*) FROM {table} t WHERE t."{column}" IS NOT NULL'
            f' AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE p."{key}" = t."{column}")'
        )
        if number:
            faults.append((name, number))
    return faults


BTREES = (
    "SELECT i.indexrelid, i.indexrelid::regclass::text, i.indrelid::regclass::text, i.indnkeyatts,"
    " pg_get_expr(i.indpred, i.indrelid)"
    " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam"
    " WHERE m.amname = 'btree' AND c.relnamespace = 'public'::regnamespace ORDER BY 2"
)

OTHER_PLANS = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort")


def _amcheck(ask: Query) -> list[Any]:
    import psycopg

    faults: list[Any] = []
    for oid, index, *_ in ask(BTREES):
        try:
            ask(f"SELECT bt_index_check({oid}, true)")
        except psycopg.Error as error:
            faults.append((index, str(error)))
    for (table,) in ask(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ):
        faults += [(table, *row) for row in ask(f"SELECT * FROM verify_heapam('{table}')")]
    return faults


def _compare_indexes(ask: Query) -> tuple[list[Any], list[str]]:
    """Read each table once in the order of each index, by that index alone, and once row after row.

    Returns what differs, and the indexes that the server would not read in this way.
    """
    faults: list[Any] = []
    unread: list[str] = []
    for oid, index, table, columns, predicate in ask(BTREES):
        order = ", ".join(_order(ask, oid, number) for number in range(columns))
        rows = f"SELECT * FROM {table}" + (f" WHERE {predicate}" if predicate else "")
        sums = "SELECT count(*), bit_xor(hashtextextended(r::text, 0))"
        by_index = f"{sums} FROM ({rows} ORDER BY {order}) r"
        _set(ask, {"enable_indexscan": "on", "enable_indexonlyscan": "on"} | dict.fromkeys(OTHER_PLANS, "off"))
        if f" {index} on " not in str(ask(f"EXPLAIN {by_index}")):
            unread.append(index)
            continue
        found = ask(by_index)
        _set(ask, {"enable_seqscan": "on", "enable_indexscan": "off", "enable_indexonlyscan": "off"})
        if found != (expected := ask(f"{sums} FROM ({rows}) r")):
            faults.append((index, found, expected))
    return faults, unread


def _order(ask: Query, index: int, column: int) -> str:
    ((expression, class_),) = ask(
        f"SELECT pg_get_indexdef(indexrelid, {column + 1}, true),"
        f" (SELECT opcname FROM pg_opclass o WHERE o.oid = indclass[{column}])"
        f" FROM pg_index WHERE indexrelid = {index}"
    )
    return f"{expression} USING ~<~" if class_.endswith("_pattern_ops") else str(expression)


def _set(ask: Query, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        ask(f"SET {name} = {value}")
