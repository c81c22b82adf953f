"""Tasks that a search finds, on both databases."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, Func, QuerySet
from django.db.models.sql.datastructures import BaseTable

from duely.core.actor import Actor
from duely.core.permissions import Permission
from duely.core.scopes import Everything, Scope, scope
from duely.tasks import words
from duely.tasks.models import OUTDATED, StaleWords, Task, TaskWords
from duely.tasks.queries import task_key
from duely.tasks.words import Term

FEW = 1_500
"""Up to so many finds are looked up and put in order. Of more, the first ones are met soon in the order of the list."""
FEWER = 400
"""Up to so many, SQLite looks up one by one. Of more it makes a set, and walks through the tasks to a page's end."""
DENSE, NEWEST = 8, 250
"""So many finds among so many of the newest tasks tell that there are many, without a look at the index of words."""


def found_tasks(tasks: QuerySet[Task], *, actor: Actor, terms: Sequence[Term], counted: bool) -> QuerySet[Task]:
    """Those of these tasks that a search finds, among what the actor may see.

    One statement finds a few. If that is all, the tasks are theirs; else each task is asked in its turn, to the end of
    the page. counted: all of them will be counted, so that asking each would take long.
    """
    visible = scope(actor, Permission.TASK_VIEW)
    prefix = _prefix_of(visible)
    if all(term.is_excluded for term in terms):
        return tasks.filter(_asked(terms, prefix))
    if counted:
        return tasks.filter(_among_all(terms, prefix))
    few = _few(visible, terms, prefix)
    if few is None:
        return tasks.filter(_asked(terms, prefix))
    if connection.vendor == "postgresql":
        return tasks.filter(OfTask("{id} = ANY (%s)", few))
    ids = json.dumps(few)
    if len(few) > FEWER:
        return tasks.filter(OfTask("{id} IN (SELECT value FROM json_each(%s))", ids))
    return _by_row(tasks.filter(OfTask(_ROWS, ids)))


def _prefix_of(visible: Scope) -> str | None:
    """What the indexed words of a scope begin with; None for words of every scope.

    Another kind of scope has no `user_id`: it fails here instead of searching everything.
    """
    if isinstance(visible, Everything):
        return None
    return words.scope_of(visible.user_id)


class OfTask(Func):
    """A condition on the id of a task, as SQL with `{id}` in it."""

    output_field = BooleanField()

    def __init__(self, sql: str, *values: Any) -> None:
        super().__init__("pk")
        self.sql, self.values = sql, values

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, tuple[Any, ...]]:
        """The id's column is put into the text; the values go to the driver."""
        column, params = compiler.compile(self.source_expressions[0])
        return self.sql.format(id=column), (*params, *self.values)


_ROWS = "tasks_task.rowid IN (SELECT rowid FROM tasks_task WHERE id IN (SELECT value FROM json_each(%s)))"
_FOUND = "FROM tasks_words WHERE words @@ %s::tsquery"
_FOUND_BY_FTS5 = "FROM tasks_search s JOIN tasks_words w ON w.id = s.rowid WHERE tasks_search MATCH %s"
# One row without an id tells that there are many.
_FEW = """
    WITH newest AS (
        SELECT id FROM tasks_task WHERE deleted_at IS NULL {mine} ORDER BY created_at DESC, id DESC LIMIT %s
    ), dense AS (SELECT count(*) >= %s AS is_so FROM newest WHERE {asked})
    SELECT NULL AS task_id WHERE (SELECT is_so FROM dense)
    UNION ALL SELECT * FROM (SELECT task_id {found} AND NOT (SELECT is_so FROM dense) LIMIT %s) found"""


def _few(visible: Scope, terms: Sequence[Term], prefix: str | None) -> list[Any] | None:
    """The ids of all finds, as the database has them; None when there are many."""
    asked = _asked(terms, prefix)
    mine, owners = visible.sql()
    found, wanted = _index(terms, prefix)
    sql = _FEW.format(mine=mine, asked=asked.sql.format(id="newest.id"), found=found)
    with connection.cursor() as cursor:
        cursor.execute(sql, [*map(task_key, owners), NEWEST, DENSE, *asked.values, wanted, FEW + 1])
        ids = [task_id for (task_id,) in cursor.fetchall()]
    return None if None in ids or len(ids) > FEW else ids


def _index(terms: Sequence[Term], prefix: str | None) -> tuple[str, str]:
    """Where the database finds the terms, and the value for that."""
    if connection.vendor == "postgresql":
        return _FOUND, words.tsquery(terms, prefix)
    return _FOUND_BY_FTS5, words.fts5(terms, prefix)


def _among_all(terms: Sequence[Term], prefix: str | None) -> OfTask:
    found, wanted = _index(terms, prefix)
    return OfTask(f"{{id}} IN (SELECT task_id {found})", wanted)


def _asked(terms: Sequence[Term], prefix: str | None) -> OfTask:
    """Whether a task's words are found, without the index."""
    if connection.vendor == "postgresql":
        sql = "(SELECT words @@ %s::tsquery FROM tasks_words WHERE task_id = {id})"
        return OfTask(sql, words.tsquery(terms, prefix))
    tests = " AND ".join(f"instr(' ' || words || ' ', %s) {'=' if term.is_excluded else '>'} 0" for term in terms)
    sql = f"EXISTS (SELECT 1 FROM tasks_words WHERE task_id = {{id}} AND {tests})"  # noqa: S608
    return OfTask(sql, *map(words.needle, terms))


def _by_row(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """The same, with the rows looked up by their numbers.

    SQLite knows nothing of how many tasks an owner has. Else it would walk through all, in the order of the list.
    """
    query = tasks.query
    alias = query.get_initial_alias()
    query.alias_map[alias] = _NotIndexed(query.alias_map[alias].table_name, alias)
    return tasks


class _NotIndexed(BaseTable):
    def as_sql(self, compiler: Any, connection: Any) -> Any:
        sql, params = super().as_sql(compiler, connection)
        return f"{sql} NOT INDEXED", params


def tasks_with_stale_words(limit: int) -> list[UUID]:
    """The ids of tasks that a search does not find by their text, and of those whose words have an older format."""
    ids: list[UUID] = list(StaleWords.objects.order_by("task_id").values_list("task_id", flat=True)[:limit])
    if len(ids) < limit:
        outdated = TaskWords.objects.filter(OUTDATED).order_by("task_id")
        ids += outdated.values_list("task_id", flat=True)[: limit - len(ids)]
    return ids
