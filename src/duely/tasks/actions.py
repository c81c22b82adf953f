"""What people do with tasks and categories. Each records its change in the same transaction."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from duely.activity.actions import Changes, Entry, record, record_many
from duely.core.actor import Actor
from duely.core.clock import rfc3339
from duely.core.errors import AlreadyExists, FieldError, ValidationFailed
from duely.core.ids import new_id
from duely.core.records import Statement, deletion, insertion, update
from duely.tasks.access import category_for, locked_task_for, owner_for
from duely.tasks.models import Category, Task
from duely.tasks.rules import PRIORITIES, RANKS, Priority, Standing, Status, folded, next_standing, placed

Fields = Mapping[str, Any]
"""Fields of a task or category by their names in the API, checked and parsed."""

TASK_DEFAULTS: Fields = {
    "description": "",
    "status": Status.PENDING,
    "priority": Priority.MEDIUM,
    "due_date": None,
    "category": None,
    "tags": [],
    "reminders": [],
}
CATEGORY_DEFAULTS: Fields = {"color": "#808080", "position": 0}


def create_task(*, actor: Actor, fields: Fields, now: datetime) -> Task:
    """Make a task, for the actor or, by an admin, for `fields["owner"]`.

    Raises AlreadyExists (409) for an id that is taken, ValidationFailed (400). Records task.created.
    """
    wanted = {**TASK_DEFAULTS, **_status_given(fields)}
    task = Task(id=fields.get("id") or new_id(), status=Status.PENDING, created_at=now, updated_at=now)
    try:
        with transaction.atomic():
            task.owner_id, zone = owner_for(actor, fields.get("owner"), category_id=wanted["category"])
            _set(task, _columns(task, wanted, zone, now))
            record(actor, "task.created", task, at=now, changes=_news(task), write=insertion(task))
    except IntegrityError as fault:
        if "id" not in fields or not Task.objects.filter(pk=task.id).exists():
            raise
        taken = FieldError("id", "already_exists", "Choose another id.")
        raise AlreadyExists("There is a task with this id.", errors=[taken]) from fault
    return task


@transaction.atomic
def update_task(*, actor: Actor, task_id: UUID, fields: Fields, now: datetime) -> Task:
    """Change these fields of a task. An edit that changes nothing leaves no trace.

    Raises NotFound (404), Forbidden (403), ValidationFailed (400). Records task.status_changed when the
    status changes, else task.updated.
    """
    task = locked_task_for(actor, task_id, category_id=fields.get("category"))
    before = _logged(task)
    columns = _columns(task, _status_given(fields), task.zone, now)  # type: ignore[attr-defined]
    statement = _edit(task, columns, now)
    if statement is not None:
        changes = _differences(before, _logged(task))
        action = "task.status_changed" if "status" in changes else "task.updated"
        record(actor, action, task, at=now, changes=changes, write=statement)
    return task


def replace_task(*, actor: Actor, task_id: UUID, fields: Fields, now: datetime) -> Task:
    """Set all writable fields of a task; those not given take their defaults. Otherwise as `update_task`."""
    return update_task(actor=actor, task_id=task_id, fields={**TASK_DEFAULTS, **_status_given(fields)}, now=now)


@transaction.atomic
def delete_task(*, actor: Actor, task_id: UUID, now: datetime) -> None:
    """Move a task to the trash. Raises NotFound (404), Forbidden (403). Records task.deleted."""
    task = locked_task_for(actor, task_id)
    statement = _edit(task, {"deleted_at": now}, now)
    record(actor, "task.deleted", task, at=now, changes={"deleted_at": [None, rfc3339(now)]}, write=statement)


def create_category(*, actor: Actor, fields: Fields, now: datetime) -> Category:
    """Make a category. Raises AlreadyExists (409) for a name or id that is taken. Records category.created."""
    wanted = {**CATEGORY_DEFAULTS, **fields}
    columns = {"id": new_id(), **_category_columns(wanted)}
    category = Category(**columns, owner_id=actor.user_id, created_at=now, updated_at=now)
    changes = {name: [None, getattr(category, name)] for name in ("name", "color", "position")}
    try:
        with transaction.atomic():
            record(actor, "category.created", category, at=now, changes=changes, write=insertion(category))
    except IntegrityError as fault:
        raise _category_conflict(fault, "id" in fields and Category.objects.filter(pk=category.id).exists()) from fault
    category.task_count = 0  # type: ignore[attr-defined]
    return category


def update_category(*, actor: Actor, category_id: UUID, fields: Fields, now: datetime) -> Category:
    """Change these fields of a category. An edit that changes nothing leaves no trace.

    Raises NotFound (404), Forbidden (403), AlreadyExists (409). Records category.updated.
    """
    try:
        with transaction.atomic():
            category = category_for(actor, category_id, lock=True)
            changes = _differences({name: getattr(category, name) for name in fields}, fields)
            statement = _edit(category, _category_columns(fields), now)
            if statement is not None:
                record(actor, "category.updated", category, at=now, changes=changes, write=statement)
    except IntegrityError as fault:
        raise _category_conflict(fault, id_taken=False) from fault
    return category


def replace_category(*, actor: Actor, category_id: UUID, fields: Fields, now: datetime) -> Category:
    """Set all writable fields of a category; otherwise as `update_category`."""
    return update_category(actor=actor, category_id=category_id, fields={**CATEGORY_DEFAULTS, **fields}, now=now)


@transaction.atomic
def delete_category(*, actor: Actor, category_id: UUID, now: datetime) -> None:
    """Remove a category. Its tasks stay, without one.

    Raises NotFound (404), Forbidden (403). Records task.updated for each task, then category.deleted.
    """
    category = category_for(actor, category_id, lock=True)
    emptied = list(Task.objects.select_for_update().filter(category_id=category.id).order_by("id"))
    changes = {"category": [str(category.id), None]}
    entries = [Entry("task.updated", task, changes) for task in emptied]
    writes = [_edit(task, {"category_id": None}, now) for task in emptied]
    record_many(
        actor,
        category.owner_id,
        [*entries, Entry("category.deleted", category, {"name": [category.name, None]})],
        at=now,
        writes=[*(write for write in writes if write), deletion(category)],
    )


def move_whole_days(*, owner_id: UUID, zone: str) -> None:  # allow: silent_action because the zone's change is recorded
    """Place the owner's all-day tasks anew after their time zone changed.

    Clients see days, which stay; only the place on the time line moves.
    """
    whole_days = Task.objects.filter(owner_id=owner_id, due_on__isnull=False)
    days = whole_days.values_list("due_on", flat=True).distinct().order_by("due_on")
    for day in filter(None, days):
        whole_days.filter(due_on=day).update(due_at=placed(day, zone))


def _status_given(fields: Fields) -> dict[str, Any]:
    """The fields with `completed`, the shorthand, turned into `status`. Raises ValidationFailed if they differ."""
    wanted = dict(fields)
    completed = wanted.pop("completed", None)
    if completed is None:
        return wanted
    status = wanted.get("status")
    if status is not None and (status is Status.COMPLETED) != completed:
        raise ValidationFailed(FieldError("completed", "conflict", "This says something else than status."))
    if status is not None:
        return wanted
    return wanted | ({"status": Status.COMPLETED} if completed else {"reopen": True})


def _columns(task: Task, fields: Fields, zone: str, now: datetime) -> dict[str, Any]:
    """The columns that these fields stand for."""
    columns: dict[str, Any] = {name: fields[name] for name in ("title", "description") if name in fields}
    if "priority" in fields:
        columns["priority"] = RANKS[fields["priority"]]
    if "category" in fields:
        columns["category_id"] = fields["category"]
    if "tags" in fields:
        columns["tags"] = fields["tags"]
        columns["tag_keys"] = [folded(tag) for tag in fields["tags"]]
    if "reminders" in fields:
        columns["reminders"] = fields["reminders"]
    if "due_date" in fields:
        due: date | None = fields["due_date"]
        columns["due_on"] = None if isinstance(due, datetime) else due
        columns["due_at"] = placed(due, zone) if due else None
    return columns | _standing_columns(task, fields, columns.get("due_at", task.due_at), now)


def _standing_columns(task: Task, fields: Fields, due_at: datetime | None, now: datetime) -> dict[str, Any]:
    asked = fields.get("status")
    current = Standing(
        Status(task.status), Status(task.former_status) if task.former_status else None, task.completed_at
    )
    if fields.get("reopen") and current.status is Status.COMPLETED:
        asked = Status.PENDING
    if asked is Status.OVERDUE and current.status is not Status.OVERDUE:
        message = "The system sets overdue when the due date passes. Set due_date instead."
        raise ValidationFailed(FieldError("status", "not_settable", message))
    late = due_at is not None and due_at <= now
    standing = next_standing(current, asked=asked, late=late, due_moved="due_date" in fields, now=now)
    return {
        "status": standing.status.value,
        "former_status": standing.former.value if standing.former else None,
        "completed_at": standing.completed_at,
    }


def _category_columns(fields: Fields) -> dict[str, Any]:
    return {**fields, "name_key": folded(fields["name"])} if "name" in fields else dict(fields)


def _set(row: Task, columns: Mapping[str, Any]) -> None:
    for name, value in columns.items():
        setattr(row, name, value)


def _edit(row: Task | Category, columns: Mapping[str, Any], now: datetime) -> Statement | None:
    """The statement for those columns that change, with the version; None when none does."""
    changed = {name: value for name, value in columns.items() if getattr(row, name) != value}
    if not changed:
        return None
    return update(row, {**changed, "version": row.version + 1, "updated_at": now})


def _logged(task: Task) -> dict[str, Any]:
    """A task's fields as the change log shows them."""
    return {
        "title": task.title,
        "description": task.description,
        "status": task.status,
        "completed_at": rfc3339(task.completed_at) if task.completed_at else None,
        "priority": PRIORITIES[task.priority].value,
        "due_date": task.due_on.isoformat() if task.due_on else rfc3339(task.due_at) if task.due_at else None,
        "category": str(task.category_id) if task.category_id else None,
        "tags": task.tags,
        "reminders": task.reminders,
    }


def _news(task: Task) -> Changes:
    """What a new task brings: its fields that are not empty."""
    return {name: [None, value] for name, value in _logged(task).items() if value}


def _differences(before: Fields, after: Fields) -> dict[str, list[Any]]:
    return {name: [before[name], after[name]] for name in after if before[name] != after[name]}


def _category_conflict(fault: IntegrityError, id_taken: bool) -> Exception:
    if id_taken:
        return AlreadyExists("There is a category with this id.", errors=[FieldError("id", "already_exists", "Taken.")])
    if "name" in str(fault):
        return AlreadyExists(
            "There is a category with this name.", errors=[FieldError("name", "already_exists", "Choose another name.")]
        )
    return fault
