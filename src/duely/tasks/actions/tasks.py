"""What people do with tasks. Each records its change in the same transaction."""

from copy import copy
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from duely.activity.actions import record
from duely.api.versions import NOTHING, Expected
from duely.core.actor import Actor
from duely.core.clock import rfc3339
from duely.core.errors import AlreadyExists, FieldError
from duely.core.ids import new_id
from duely.core.records import insertion
from duely.tasks import steps
from duely.tasks.access import locked_task_for, owner_for
from duely.tasks.models import Task
from duely.tasks.rules import Priority, Status
from duely.tasks.steps import Fields

TASK_DEFAULTS: Fields = {
    "description": "",
    "status": Status.PENDING,
    "priority": Priority.MEDIUM,
    "due_date": None,
    "category": None,
    "tags": [],
    "reminders": [],
}


def create_task(*, actor: Actor, fields: Fields, now: datetime) -> Task:
    """Make a task, for the actor or, by an admin, for `fields["owner"]`.

    Raises AlreadyExists (409) for an id that is taken, ValidationFailed (400). Records task.created.
    """
    wanted = {**TASK_DEFAULTS, **steps.status_given(fields)}
    task = Task(id=fields.get("id") or new_id(), status=Status.PENDING, created_at=now, updated_at=now)
    try:
        with transaction.atomic():
            task.owner_id, zone = owner_for(actor, fields.get("owner"), category_id=wanted["category"])
            steps.assign(task, steps.columns_of(task, wanted, zone, now))
            steps.place_reminders(task, zone, now)
            record(actor, "task.created", task, at=now, changes=steps.news(task), write=insertion(task))
    except IntegrityError as fault:
        if "id" not in fields or not Task.objects.filter(pk=task.id).exists():
            raise
        taken = FieldError("id", "already_exists", "Choose another id.")
        raise AlreadyExists("There is a task with this id.", errors=[taken]) from fault
    return task


@transaction.atomic
def update_task(*, actor: Actor, task_id: UUID, fields: Fields, expected: Expected = NOTHING, now: datetime) -> Task:
    """Change these fields of a task. An edit that changes nothing leaves no trace.

    Raises NotFound (404), Forbidden (403), VersionConflict (412), ValidationFailed (400), EditConflict (409).
    Records task.status_changed when the status changes, else task.updated.
    """
    task = locked_task_for(actor, task_id, category_id=fields.get("category"))
    expected.refuse_other(task)
    zone: str = task.zone  # type: ignore[attr-defined]
    before, due_at, texts = steps.logged(task), task.due_at, task.reminders
    wanted = steps.status_given(fields)
    columns = steps.columns_of(task, wanted, zone, now)
    edited = copy(task)
    steps.assign(edited, columns)
    changes = steps.differences(before, steps.logged(edited))
    steps.refuse_conflict(task, expected, wanted, changes)
    statement = steps.edit(task, columns, now)
    if statement is not None:
        if (task.due_at, task.reminders) != (due_at, texts):
            steps.place_reminders(task, zone, now, former=texts)
        action = "task.status_changed" if "status" in changes else "task.updated"
        record(actor, action, task, at=now, changes=changes, write=statement)
    return task


def replace_task(*, actor: Actor, task_id: UUID, fields: Fields, expected: Expected = NOTHING, now: datetime) -> Task:
    """Set all writable fields of a task; those not given take their defaults. Otherwise as `update_task`."""
    whole = {**TASK_DEFAULTS, **steps.status_given(fields)}
    return update_task(actor=actor, task_id=task_id, fields=whole, expected=expected, now=now)


@transaction.atomic
def delete_task(*, actor: Actor, task_id: UUID, expected: Expected = NOTHING, now: datetime) -> None:
    """Move a task to the trash. Raises NotFound (404), Forbidden (403), VersionConflict (412). Records task.deleted."""
    task = locked_task_for(actor, task_id)
    expected.refuse_other(task)
    statement = steps.edit(task, {"deleted_at": now}, now)
    record(actor, "task.deleted", task, at=now, changes={"deleted_at": [None, rfc3339(now)]}, write=statement)
