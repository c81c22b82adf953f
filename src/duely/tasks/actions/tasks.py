"""What people do with one task. Each records its change in the same transaction."""

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from duely.activity.actions import record
from duely.api.versions import NOTHING, Expected
from duely.core.actor import Actor
from duely.core.clock import rfc3339
from duely.core.errors import Refused
from duely.core.permissions import Permission, require
from duely.database.statements import RowChanged, insert_statement
from duely.tasks import edits, reminders, statements
from duely.tasks.access import locked_task_for, owner_for, trashed_task_for, unlocked_task_for
from duely.tasks.edits import TASK_DEFAULTS, Fields
from duely.tasks.models import Task


class NotInTrash(Refused):
    """Only a task in the trash can be restored."""

    code = "not_in_trash"
    status = 409
    title = "This task is not in the trash."


def create_task(*, actor: Actor, fields: Fields, now: datetime) -> Task:
    """Make a task, for the actor or, by an admin, for `fields["owner"]`.

    Raises Forbidden (403), AlreadyExists (409) for an id that is taken, ValidationFailed (400). Records task.created.
    """
    require(actor, Permission.TASK_EDIT)
    # Without rows to lock the new task is one statement, and on PostgreSQL one round trip (decision 0019).
    if not fields.keys() & _LOOKED_UP:
        task = edits.new_task(actor.user_id, actor.zone, fields, now)
        _record_new(actor, task, now, alone=True)
        return task
    try:
        with transaction.atomic():
            owner_id, zone = owner_for(actor, fields.get("owner"), category_id=fields.get("category"))
            task = edits.new_task(owner_id, zone, fields, now)
            reminders.place_reminders([(task, zone, ())], now)
            _record_new(actor, task, now)
    except IntegrityError as fault:
        if "id" not in fields or not Task.objects.filter(pk=fields["id"]).exists():
            raise
        raise edits.id_taken() from fault
    return task


_LOOKED_UP = frozenset({"id", "owner", "category", "due_date", "reminders"})
"""Fields of a new task that hang on other rows. Without them it is one statement."""


def _record_new(actor: Actor, task: Task, now: datetime, *, alone: bool = False) -> None:
    words = statements.index_words([task])
    changes = edits.news(task)
    record(
        actor, "task.created", task, at=now, changes=changes, write=insert_statement(task), also=[words], alone=alone
    )


def update_task(*, actor: Actor, task_id: UUID, fields: Fields, expected: Expected = NOTHING, now: datetime) -> Task:
    """Change these fields of a task. An edit that changes nothing leaves no trace.

    Raises NotFound (404), Forbidden (403), VersionConflict (412), ValidationFailed (400), EditConflict (409).
    Records task.status_changed when the status changes, else task.updated.
    """
    # Reads without a lock and writes if the row is unchanged: two round trips instead of four (decision 0021).
    task = _update_unlocked(actor, task_id, fields, expected, now)
    return task or _update_locked(actor, task_id, fields, expected, now)


def _update_unlocked(actor: Actor, task_id: UUID, fields: Fields, expected: Expected, now: datetime) -> Task | None:
    """For an edit of the task's row alone: one statement, which writes nothing when someone else was first.

    None when that happened, and for what hangs on other rows: a category, a day in the owner's time zone, reminders,
    the words that a search finds.
    """
    due = fields.get("due_date")
    is_a_day = due is not None and not isinstance(due, datetime)
    if is_a_day or fields.get("category") or fields.keys() & edits.SEARCHED:
        return None
    task = unlocked_task_for(actor, task_id)
    expected.refuse_other(task)
    changes, columns = edits.planned(task, fields, expected, actor.zone, now)
    if (task.reminders or columns.get("reminders")) and columns.keys() & {"due_at", "reminders"}:
        return None
    statement = edits.edit(task, columns, now, unless_changed=_AS_SEEN)
    if statement is not None:
        action = "task.status_changed" if "status" in changes else "task.updated"
        try:
            record(actor, action, task, at=now, changes=changes, write=statement, alone=True)
        except RowChanged:
            return None
    return task


_AS_SEEN = ("version", "due_at", "category_id")
"""What must still be so when an edit is written. A new time zone and the end of a category change no version."""


@transaction.atomic
def _update_locked(actor: Actor, task_id: UUID, fields: Fields, expected: Expected, now: datetime) -> Task:
    task = locked_task_for(actor, task_id, category_id=fields.get("category"))
    expected.refuse_other(task)
    zone: str = task.zone  # type: ignore[attr-defined]
    due_at, texts = task.due_at, task.reminders
    changes, columns = edits.planned(task, fields, expected, zone, now)
    statement = edits.edit(task, columns, now)
    if statement is not None:
        if (task.due_at, task.reminders) != (due_at, texts):
            reminders.place_reminders([(task, zone, texts)], now)
        words = [statements.index_words([task])] if changes.keys() & edits.SEARCHED else []
        action = "task.status_changed" if "status" in changes else "task.updated"
        record(actor, action, task, at=now, changes=changes, write=statement, also=words)
    return task


def replace_task(*, actor: Actor, task_id: UUID, fields: Fields, expected: Expected = NOTHING, now: datetime) -> Task:
    """Set all writable fields of a task; those not given take their defaults. Otherwise as `update_task`."""
    whole = {**TASK_DEFAULTS, **edits.status_given(fields)}
    return update_task(actor=actor, task_id=task_id, fields=whole, expected=expected, now=now)


@transaction.atomic
def delete_task(*, actor: Actor, task_id: UUID, expected: Expected = NOTHING, now: datetime) -> None:
    """Move a task to the trash. Raises NotFound (404), Forbidden (403), VersionConflict (412). Records task.deleted."""
    task = locked_task_for(actor, task_id)
    expected.refuse_other(task)
    statement = edits.edit(task, {"deleted_at": now}, now)
    record(actor, "task.deleted", task, at=now, changes=edits.deletion_of(now), write=statement)


@transaction.atomic
def restore_task(*, actor: Actor, task_id: UUID, now: datetime) -> Task:
    """Take a task out of the trash, as it was.

    Raises NotFound (404), Forbidden (403), NotInTrash (409). Records task.restored.
    """
    task = trashed_task_for(actor, task_id)
    if task.deleted_at is None:
        raise NotInTrash("It is not deleted, so there is nothing to restore.")
    changes = {"deleted_at": [rfc3339(task.deleted_at), None]}
    statement = edits.edit(task, {"deleted_at": None}, now)
    record(actor, "task.restored", task, at=now, changes=changes, write=statement)
    return task
