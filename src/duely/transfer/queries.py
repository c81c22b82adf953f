"""Everything that is someone's, to be written to a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from duely.activity.models import Change
from duely.activity.schemas import ACTIVITY
from duely.core.actor import Actor
from duely.core.permissions import Permission
from duely.core.scopes import own_scope
from duely.database.compiled import within
from duely.tasks.models import IN_TRASH, LIVE, Category, Task

AT_ONCE = 50
"""Rows that are read at once. Each may have a description of 64 KiB."""
CHANGES_AT_ONCE = 16
"""Entries of the log that are read at once. Each may have two descriptions with six bytes for each character."""
TASK_COLUMNS = (
    *("id", "title", "description", "status", "former_status", "completed_at", "priority", "due_on", "due_at"),
    *("category_id", "tags", "reminders", "version", "created_at", "updated_at", "deleted_at"),
)


@contextmanager
def snapshot() -> Iterator[None]:
    """All that is read within it is of one instant, and nobody waits for it. Within a transaction it does nothing."""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        # `atomic` would take the right to write, which only one has at a time.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("COMMIT")


def own_categories(actor: Actor) -> Iterator[tuple[Any, ...]]:
    """id, name, colour, position, version and instants of each of the actor's categories. Raises Forbidden (403)."""
    mine = within(Category.objects.all(), own_scope(actor, Permission.CATEGORY_VIEW)).order_by("position", "id")
    columns = mine.values_list("id", "name", "color", "position", "version", "created_at", "updated_at")
    return columns.iterator(AT_ONCE)


def own_tasks(actor: Actor) -> Iterator[tuple[Any, ...]]:
    """TASK_COLUMNS of each of the actor's tasks, in the order in which they were made, those in the trash last.

    Raises Forbidden (403).
    """
    mine = within(Task.objects.all(), own_scope(actor, Permission.TASK_VIEW))
    live, trashed = mine.filter(LIVE).order_by("created_at", "id"), mine.filter(IN_TRASH).order_by("deleted_at", "id")
    for tasks in (live, trashed):
        rows = tasks.values_list(*TASK_COLUMNS)  # allow: user_text_in_query because the names are above
        yield from rows.iterator(AT_ONCE)


def own_changes(actor: Actor) -> Iterator[tuple[Any, ...]]:
    """The columns of ACTIVITY of each entry of the actor's log, the oldest first. Raises Forbidden (403)."""
    changes = within(Change.objects.all(), own_scope(actor, Permission.LOG_VIEW)).order_by("seq")
    rows = changes.values_list(*ACTIVITY.read())  # allow: user_text_in_query because the names are declared there
    return rows.iterator(CHANGES_AT_ONCE)
