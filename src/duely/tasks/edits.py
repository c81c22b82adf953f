"""Plans of edits: which columns of a task change, and what the change log says of it. Nothing here writes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from duely.activity.actions import Changes
from duely.activity.queries import fields_of_last
from duely.api.versions import EditConflict, Expected
from duely.core.clock import as_shown, rfc3339
from duely.core.errors import AlreadyExists, FieldError, ValidationFailed
from duely.core.ids import new_id
from duely.database.statements import Statement, build_row, update_statement
from duely.tasks.models import Category, Task
from duely.tasks.rules import PRIORITIES, RANKS, Priority, Standing, Status, folded, next_standing, placed, show_due

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


def assign(row: Task, columns: Mapping[str, Any]) -> None:
    """Give a row these columns, in memory."""
    for name, value in columns.items():
        setattr(row, name, value)


# A model asks each of its fields for what it is not given, each time.
_BLANK = {field.attname: field.get_default() for field in Task._meta.local_concrete_fields} | {"status": Status.PENDING}


def new_task(owner_id: UUID, zone: str, fields: Fields, now: datetime) -> Task:
    """The row, not yet stored, of a new task. Raises ValidationFailed (400)."""
    wanted = {**TASK_DEFAULTS, **status_given(fields)}
    own = {"id": fields.get("id") or new_id(), "owner_id": owner_id, "created_at": now, "updated_at": now}
    task = build_row(Task, {**_BLANK, **own}, is_stored=False)
    assign(task, columns_of(task, wanted, zone, now))
    task.words_version = task.version
    return task


def id_taken() -> AlreadyExists:
    """The refusal of an id that another task has, whoever has it."""
    return AlreadyExists(
        "A task with this id exists already.", errors=[FieldError("id", "already_exists", "Choose another id.")]
    )


def planned(
    task: Task, fields: Fields, expected: Expected, zone: str, now: datetime, recent: Sequence[Collection[str]] = ()
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """What an edit of a locked task changes: for the change log, and as columns. Both are empty when nothing does.

    recent: the fields that each of the last changes changed which are not in the log yet, the oldest first.
    Raises ValidationFailed (400), EditConflict (409).
    """
    wanted = status_given(fields)
    columns = columns_of(task, wanted, zone, now)
    edited = build_row(Task, {**vars(task), **columns}, is_stored=True)
    changes = differences(logged(task), logged(edited))
    refuse_conflict(task, expected, wanted, changes, recent)
    changed = {name: value for name, value in columns.items() if getattr(task, name) != value}
    if changed.keys() & SEARCHED:
        changed["words_version"] = task.version + 1
    return changes, changed


def edit(
    row: Task | Category, columns: Mapping[str, Any], now: datetime, *, unless_changed: Sequence[str] = ()
) -> Statement | None:
    """The statement for those columns that change, with the version; None when none does."""
    changed = {name: value for name, value in columns.items() if getattr(row, name) != value}
    if not changed:
        return None
    return update_statement(
        row, {**changed, "version": row.version + 1, "updated_at": now}, unless_changed=unless_changed
    )


def with_new_words(changed: Iterable[tuple[Task, Task]]) -> list[Task]:
    """Of tasks with what they were before, those that a search finds by other words now."""
    words = attrgetter(*sorted(SEARCHED))
    return [task for former, task in changed if words(former) != words(task)]


def category_news(category: Category) -> Changes:
    """What a new category brings."""
    return {name: [None, getattr(category, name)] for name in ("name", "color", "position")}


def refuse_conflict(
    row: Task | Category,
    expected: Expected,
    fields: Fields,
    changes: Collection[str],
    recent: Sequence[Collection[str]] = (),
) -> None:
    """Raises EditConflict (409) when fields that a body names, and would change, have changed since its version.

    changes: what the edit would change, by the names in the change log. What follows from other fields by itself, as a
    status from a due date, is nobody's edit. recent: as of `planned`.
    ValidationFailed (400) for a version that is yet to come.
    """
    if many := expected.missed(row):
        named = {_SHORTHANDS.get(name, name) for name in fields}
        others = {name for change in recent[-many:] for name in change}
        if many > len(recent):
            others |= fields_of_last(row.owner_id, row.id, many - len(recent))
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
        raise ValidationFailed(FieldError("completed", "conflict", "This contradicts status."))
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


_PRIORITY_NAMES = {rank: priority.value for rank, priority in PRIORITIES.items()}


def logged(task: Task) -> dict[str, Any]:
    """A task's fields as the change log shows them."""
    completed_at, due_at = as_shown((task.completed_at, task.due_at))
    return {
        "title": task.title,
        "description": task.description,
        "status": task.status,
        "completed_at": completed_at,
        "priority": _PRIORITY_NAMES[task.priority],
        "due_date": show_due(task.due_on, due_at),
        "category": str(task.category_id) if task.category_id else None,
        "tags": task.tags,
        "reminders": task.reminders,
    }


SEARCHED = frozenset({"title", "description"})
"""The fields that a search looks at."""


def deletion_of(now: datetime) -> Changes:
    """What the change log says of a task that goes to the trash."""
    return {"deleted_at": [None, rfc3339(now)]}


def news(task: Task) -> Changes:
    """What a new task brings: its fields that are not empty."""
    return {name: [None, value] for name, value in logged(task).items() if value}
