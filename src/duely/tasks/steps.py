"""Steps that several actions take. None of them records anything: that is the action's business."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from duely.activity.actions import Changes
from duely.activity.queries import fields_of_last
from duely.api.versions import EditConflict, Expected
from duely.core.clock import rfc3339
from duely.core.errors import FieldError, ValidationFailed
from duely.core.ids import new_id
from duely.core.records import Statement, insertions, update
from duely.tasks.models import Category, Reminder, Task
from duely.tasks.rules import PRIORITIES, RANKS, Standing, Status, folded, next_standing, placed, reminded_at

Fields = Mapping[str, Any]
"""Fields of a task or category by their names in the API, checked and parsed."""


def assign(row: Task, columns: Mapping[str, Any]) -> None:
    """Give a new row these columns."""
    for name, value in columns.items():
        setattr(row, name, value)


def edit(row: Task | Category, columns: Mapping[str, Any], now: datetime) -> Statement | None:
    """The statement for those columns that change, with the version; None when none does."""
    changed = {name: value for name, value in columns.items() if getattr(row, name) != value}
    if not changed:
        return None
    return update(row, {**changed, "version": row.version + 1, "updated_at": now})


def refuse_conflict(row: Task | Category, expected: Expected, fields: Fields, changes: Collection[str]) -> None:
    """Raises EditConflict (409) when fields that a body names, and would change, have changed since its version.

    changes: what the edit would change, by the names in the change log. What follows from other fields by itself, as a
    status from a due date, is nobody's edit. ValidationFailed (400) for a version that is yet to come.
    """
    if many := expected.missed(row):
        named = {_SHORTHANDS.get(name, name) for name in fields}
        others = fields_of_last(row.owner_id, row.id, many)
        if conflict := named & set(changes) & others:
            raise EditConflict(row, conflict)


_SHORTHANDS = {"completed": "status", "reopen": "status"}


def differences(before: Fields, after: Fields) -> dict[str, list[Any]]:
    """What the change log says of an edit."""
    return {name: [before[name], after[name]] for name in after if before[name] != after[name]}


def status_given(fields: Fields) -> dict[str, Any]:
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


def columns_of(task: Task, fields: Fields, zone: str, now: datetime) -> dict[str, Any]:
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


def place_reminders(task: Task, zone: str, now: datetime, *, former: Sequence[str] = ()) -> None:
    """Keep the rows of a task's reminders right. former: those that it had.

    One whose time has not changed stays as it is; of the others those of the past count as passed.
    """
    times = {text: reminded_at(text, task.due_at, zone) for text in task.reminders}
    rows = [
        Reminder(
            id=new_id(), task_id=task.id, owner_id=task.owner_id, text=text, remind_at=at, passed_at=_past(at, now)
        )
        for text, at in times.items()
        if at is not None
    ]
    gone = set(former) - {row.text for row in rows}
    if gone:
        Reminder.objects.filter(task_id=task.id, text__in=sorted(gone)).delete()
    if rows:
        insertions(rows, otherwise=_KEEP_UNLESS_MOVED).run()


_KEEP_UNLESS_MOVED = (
    "ON CONFLICT (task_id, text) DO UPDATE SET remind_at = excluded.remind_at, passed_at = excluded.passed_at"
    " WHERE tasks_reminder.remind_at <> excluded.remind_at"
)


def _past(at: datetime, now: datetime) -> datetime | None:
    return now if at <= now else None


def logged(task: Task) -> dict[str, Any]:
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


def news(task: Task) -> Changes:
    """What a new task brings: its fields that are not empty."""
    return {name: [None, value] for name, value in logged(task).items() if value}
