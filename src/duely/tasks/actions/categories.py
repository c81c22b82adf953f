"""What people do with categories. Each records its change in the same transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from duely.activity.actions import Entry, record, record_many
from duely.api.versions import NOTHING, Expected
from duely.core.actor import Actor
from duely.core.errors import AlreadyExists, FieldError
from duely.core.ids import new_id
from duely.core.records import deletion, insertion
from duely.tasks import steps
from duely.tasks.access import category_for
from duely.tasks.models import Category, Task
from duely.tasks.queries import for_the_log
from duely.tasks.rules import folded
from duely.tasks.steps import Fields

CATEGORY_DEFAULTS: Fields = {"color": "#808080", "position": 0}


def create_category(*, actor: Actor, fields: Fields, now: datetime) -> Category:
    """Make a category. Raises AlreadyExists (409) for a name or id that is taken. Records category.created."""
    wanted = {**CATEGORY_DEFAULTS, **fields}
    columns = {"id": new_id(), **_category_columns(wanted)}
    category = Category(**columns, owner_id=actor.user_id, created_at=now, updated_at=now)
    changes = steps.category_news(category)
    try:
        with transaction.atomic():
            record(actor, "category.created", category, at=now, changes=changes, write=insertion(category))
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
            changes = steps.differences({name: getattr(category, name) for name in fields}, fields)
            steps.refuse_conflict(category, expected, fields, changes)
            # A name that stays keeps its key, which of two equal names of an older release only one has.
            columns = dict(fields) if fields.get("name") == category.name else _category_columns(fields)
            statement = steps.edit(category, columns, now)
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


@transaction.atomic
def delete_category(*, actor: Actor, category_id: UUID, expected: Expected = NOTHING, now: datetime) -> None:
    """Remove a category. Its tasks stay, without one.

    Raises NotFound (404), Forbidden (403), VersionConflict (412). Records task.updated for each task, then
    category.deleted.
    """
    category = category_for(actor, category_id, lock=True)
    expected.refuse_other(category)
    emptied = list(for_the_log(Task.objects.select_for_update().filter(category_id=category.id).order_by("id")))
    changes = {"category": [str(category.id), None]}
    entries = [Entry("task.updated", task, changes) for task in emptied]
    record_many(
        actor,
        [*entries, Entry("category.deleted", category, {"name": [category.name, None]})],
        at=now,
        writes=[*steps.update_alike("category_id = NULL", emptied, now), deletion(category)],
    )


def _category_columns(fields: Fields) -> dict[str, Any]:
    return {**fields, "name_key": folded(fields["name"])} if "name" in fields else dict(fields)


def _category_conflict(fault: IntegrityError, id_taken: bool) -> Exception:
    if id_taken:
        return AlreadyExists("There is a category with this id.", errors=[FieldError("id", "already_exists", "Taken.")])
    if "name" in str(fault):
        return AlreadyExists(
            "There is a category with this name.", errors=[FieldError("name", "already_exists", "Choose another name.")]
        )
    return fault
