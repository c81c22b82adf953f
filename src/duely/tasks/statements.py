"""SQL statements that write many tasks at once."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar
from uuid import UUID

from duely.database.compiled import model_columns
from duely.database.statements import Statement, bulk_insert_statement, driver_value, this_connection, update_statement
from duely.tasks import words
from duely.tasks.models import Task
from duely.tasks.queries import TASK_KEY


def writes_of(made: Sequence[Task], changed: Iterable[tuple[Task, Task]], searched: Iterable[Task]) -> list[Statement]:
    """The statements that store many tasks at once.

    changed: what locked ones were, and are now; searched: those of them whose words are others.
    """
    writes = [bulk_insert_statement(made)] if made else []
    # Those of the same columns side by side cost one.
    writes += sorted((_update_of(former, task) for former, task in changed), key=attrgetter("sql"))
    if indexed := [*made, *searched]:
        writes.append(index_words(indexed))
    return writes


def _update_of(former: Task, task: Task) -> Statement:
    """The statement for the columns in which a locked task differs from what it was."""
    return update_statement(
        task, {name: new for name in model_columns(Task) if (new := getattr(task, name)) != getattr(former, name)}
    )


ROWS = 1000
"""Rows in one statement. With 7 values each that is far below the 32,766 that SQLite takes."""
T = TypeVar("T")


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many at once as one statement takes."""
    return (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))


def index_words(tasks: Sequence[Task]) -> Statement:
    """The statement that makes a search find these tasks by their titles and descriptions, and by nothing else.

    The statement that writes the text itself sets `words_version`, or the text counts as not indexed.
    """
    # Python makes the words, so that a search finds the same on both databases (decisions 0015 and 0034).
    database, rows = this_connection(), []
    as_vector = database.vendor == "postgresql"
    for task in tasks:
        scope, indexed = words.scope_of(task.owner_id), words.indexed_words(task.title, task.description)
        text = words.tsvector(indexed, scope) if as_vector else " ".join(indexed)
        rows.append((driver_value(TASK_KEY, task.id, database), scope, text, words.WORDS_FORMAT))
    marks = ", ".join(["(%s, %s, %s::tsvector, %s)" if as_vector else "(%s, %s, %s, %s)"] * len(rows))
    sql = (
        f"INSERT INTO tasks_words (task_id, scope, words, format) VALUES {marks}"  # noqa: S608
        " ON CONFLICT (task_id) DO UPDATE SET words = excluded.words, format = excluded.format"
    )
    return Statement(sql, tuple(value for row in rows for value in row))


def update_alike(change: str, task_ids: Sequence[UUID], now: datetime, *values: Any) -> list[Statement]:
    """The UPDATE of all these tasks, with their versions. change: SQL, from the source alone, with its values."""
    statements = []
    for part in parts(task_ids):
        marks, ids = listed(part)
        sql = f"UPDATE tasks_task SET {change}, version = version + 1, updated_at = %s WHERE id IN ({marks})"  # noqa: S608
        statements.append(Statement(sql, (*values, stored(now), *ids)))
    return statements


def place_tasks(times: Sequence[tuple[UUID, datetime]]) -> list[Statement]:
    """The UPDATE that gives all-day tasks their new places on the time line."""
    sql = (
        "WITH moved (id, at) AS (VALUES {moved}) UPDATE tasks_task SET due_at = moved.at"
        " FROM moved WHERE tasks_task.id = moved.id"
    )
    return for_pairs(sql, times, Task._meta.pk, Task._meta.get_field("due_at"))


def move_days(owner_id: UUID, times: Sequence[tuple[date, datetime]]) -> list[Statement]:
    """The UPDATE that places the tasks of whole days anew. Returns the day, status and deleted_at of each."""
    sql = (
        "WITH moved (day, at) AS (VALUES {moved}) UPDATE tasks_task SET due_at = moved.at"
        " FROM moved WHERE owner_id = %s AND due_on = moved.day"
        " RETURNING due_on, status, deleted_at"  # allow: own_visibility because the zone is the owner's
    )
    owner = driver_value(Task._meta.get_field("owner"), owner_id, this_connection())
    return for_pairs(sql, times, Task._meta.get_field("due_on"), Task._meta.get_field("due_at"), owner)


def for_pairs(sql: str, pairs: Sequence[tuple[Any, Any]], key: Any, value: Any, *more: Any) -> list[Statement]:
    """A statement with `{moved}` in it for as many pairs as it takes, of values of these columns."""
    marks, database = "(%s, %s)", this_connection()
    if database.vendor == "postgresql":  # nothing else tells it what they are
        marks = f"(%s::{key.db_type(database)}, %s::{value.db_type(database)})"
    statements = []
    for part in parts(pairs):
        stored_pairs = ((driver_value(key, one, database), driver_value(value, other, database)) for one, other in part)
        text = sql.format(moved=", ".join([marks] * len(part)))
        statements.append(Statement(text, (*chain.from_iterable(stored_pairs), *more)))
    return statements


def stored(at: datetime) -> Any:
    """An instant as the database driver takes it."""
    return driver_value(Task._meta.get_field("updated_at"), at, this_connection())


def listed(task_ids: Sequence[UUID]) -> tuple[str, tuple[Any, ...]]:
    """Ids of tasks for SQL: the marks, the values."""
    database = this_connection()
    keys = tuple(driver_value(TASK_KEY, task_id, database) for task_id in task_ids)
    return ", ".join(["%s"] * len(keys)), keys
