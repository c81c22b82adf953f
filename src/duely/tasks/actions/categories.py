"""What people do with categories. Each records its change in the same transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from duely.activity.actions import Changes, Entry, count_background, record, record_many
from duely.api.versions import NOTHING, Expected
from duely.core.actor import Actor
from duely.core.clock import rfc3339
from duely.core.errors import AlreadyExists, FieldError
from duely.core.ids import new_id
from duely.core.permissions import Permission, require
from duely.database.statements import delete_statement, insert_statement, run_all, update_statement
from duely.jobs.queue import Running, enqueue, remember
from duely.jobs.registry import named
from duely.tasks import edits, statements
from duely.tasks.access import category_for
from duely.tasks.edits import Fields
from duely.tasks.models import Category, Task
from duely.tasks.queries import for_the_log
from duely.tasks.rules import folded

CATEGORY_DEFAULTS: Fields = {"color": "#808080", "position": 0}


def create_category(*, actor: Actor, fields: Fields, now: datetime) -> Category:
    """Make a category.

    Raises Forbidden (403), AlreadyExists (409) for a name or id that is taken. Records category.created.
    """
    require(actor, Permission.CATEGORY_EDIT)
    wanted = {**CATEGORY_DEFAULTS, **fields}
    columns = {"id": new_id(), **_category_columns(wanted)}
    category = Category(**columns, owner_id=actor.user_id, created_at=now, updated_at=now)
    changes = edits.category_news(category)
    try:
        with transaction.atomic():
            record(actor, "category.created", category, at=now, changes=changes, write=insert_statement(category))
    except IntegrityError as fault:
        raise _category_conflict(fault, "id" in fields and Category.objects.filter(pk=category.id).exists()) from fault
    category.task_count = 0  # type: ignore[attr-defined]
    return category


def update_category(
    *, actor: Actor, category_id: UUID, fields: Fields, expected: Expected = NOTHING, now: datetime
) -> Category:
    """Change these fields of a category. An edit that changes nothing leaves no trace.

    Raises NotFound (404), Forbidden (403), VersionConflict (412), ValidationFailed (400), EditConflict (409),
    AlreadyExists (409). Records category.updated.
    """
    try:
        with transaction.atomic():
            category = category_for(actor, category_id, lock=True)
            expected.refuse_other(category)
            changes = edits.differences({name: getattr(category, name) for name in fields}, fields)
            edits.refuse_conflict(category, expected, fields, changes)
            # A name that stays keeps its key, which of two equal names of an older release only one has.
            columns = dict(fields) if fields.get("name") == category.name else _category_columns(fields)
            statement = edits.edit(category, columns, now)
            if statement is not None:
                record(actor, "category.updated", category, at=now, changes=changes, write=statement)
    except IntegrityError as fault:
        raise _category_conflict(fault, id_taken=False) from fault
    return category


def replace_category(
    *, actor: Actor, category_id: UUID, fields: Fields, expected: Expected = NOTHING, now: datetime
) -> Category:
    """Set all writable fields of a category; otherwise as `update_category`."""
    whole = {**CATEGORY_DEFAULTS, **fields}
    return update_category(actor=actor, category_id=category_id, fields=whole, expected=expected, now=now)


FEW = 200
"""Tasks that are taken out of a category in the transaction of its deletion. More of them take longer than 50 ms."""


@transaction.atomic
def delete_category(*, actor: Actor, category_id: UUID, expected: Expected = NOTHING, now: datetime) -> None:
    """Remove a category. Its tasks stay, without one.

    With more than FEW tasks it is gone for everyone at once, its name is free, and a job takes the tasks out of it.
    Raises NotFound (404), Forbidden (403), VersionConflict (412). Records task.updated for each of a few tasks, then
    category.deleted; of many tasks, category.deleted and, once they are out, category.emptied.
    """
    category = category_for(actor, category_id, lock=True)
    expected.refuse_other(category)
    inside = Task.objects.select_for_update().filter(category_id=category.id)
    tasks = list(for_the_log(inside.order_by("id"))[: FEW + 1])
    if len(tasks) > FEW:
        _start_emptying(actor, category, now)
        return
    changes = {"category": [str(category.id), None]}
    entries = [Entry("task.updated", task, changes) for task in tasks]
    record_many(
        actor,
        [*entries, Entry("category.deleted", category, {"name": [category.name, None]})],
        at=now,
        writes=[*statements.update_alike(_WITHOUT, [task.id for task in tasks], now), delete_statement(category)],
    )


_WITHOUT = "category_id = NULL"


def _start_emptying(actor: Actor, category: Category, now: datetime) -> None:
    # No name has a control character: so this one is nobody's.
    write = update_statement(category, {"deleted_at": now, "name_key": f"\x01{category.id}"})
    record(actor, "category.deleted", category, at=now, changes={"name": [category.name, None]}, write=write)
    count_background(category.owner_id, 1)
    enqueue(named("tasks.empty_category"), category_id=str(category.id))


@transaction.atomic
def take_some_out(*, running: Running, category_id: UUID, emptied: int, limit: int, now: datetime) -> int:
    """One transaction of the job that empties a deleted category; returns how many tasks it took out.

    Those that someone else is changing just now are left for the next call, at the end waited for. The last call,
    which takes none, removes the category and ends the job. emptied: how many are out already.
    Records category.emptied at the end, by the system: one entry for all tasks (decision 0035).
    """
    running.confirm()
    ids = _inside(category_id, limit, skip_locked=True) or _inside(category_id, limit, skip_locked=False)
    if ids:
        run_all(statements.update_alike(_WITHOUT, ids, now))
        remember(running, emptied=emptied + len(ids))
        return len(ids)
    category = Category.with_deleted.filter(pk=category_id).first()
    if category is None:
        running.finish()
    else:
        running.finish(lambda: _remove(category, emptied, now))
    return 0


def _inside(category_id: UUID, limit: int, *, skip_locked: bool) -> list[UUID]:
    inside = Task.objects.filter(category_id=category_id).select_for_update(skip_locked=skip_locked, no_key=True)
    # Who waits for locks takes them in the order of the ids, as everyone does. There are few by then.
    ordered = inside if skip_locked else inside.order_by("id")
    return list(ordered.values_list("pk", flat=True)[:limit])


def _remove(category: Category, emptied: int, now: datetime) -> None:
    since = rfc3339(category.deleted_at or now)
    changes: Changes = {"tasks": [emptied, 0], "since": [None, since]}
    count_background(category.owner_id, -1)
    record_many(None, [Entry("category.emptied", category, changes)], at=now, writes=[delete_statement(category)])


def _category_columns(fields: Fields) -> dict[str, Any]:
    return {**fields, "name_key": folded(fields["name"])} if "name" in fields else dict(fields)


def _category_conflict(fault: IntegrityError, id_taken: bool) -> Exception:
    if id_taken:
        return AlreadyExists(
            "A category with this id exists already.", errors=[FieldError("id", "already_exists", "Taken.")]
        )
    if "name" in str(fault):
        return AlreadyExists(
            "A category with this name exists already.",
            errors=[FieldError("name", "already_exists", "Choose another name.")],
        )
    return fault
