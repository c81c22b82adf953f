"""Steps that several actions take. None of them records anything: that is the action's business."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar
from uuid import UUID

from duely.activity.actions import Changes
from duely.activity.queries import fields_of_last
from duely.api.versions import EditConflict, Expected
from duely.core.clock import as_shown, rfc3339
from duely.core.errors import AlreadyExists, FieldError, ValidationFailed
from duely.core.ids import new_id
from duely.database.compiled import model_columns
from duely.database.statements import Statement, insertions, row_of, this_connection, update
from duely.database.statements import stored as stored_value
from duely.tasks import search
from duely.tasks.models import Category, Reminder, Task
from duely.tasks.rules import (
    PRIORITIES,
    RANKS,
    Priority,
    Standing,
    Status,
    folded,
    next_standing,
    placed,
    reminded_at,
    show_due,
)

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
    task = row_of(Task, {**_BLANK, **own}, is_stored=False)
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
    edited = row_of(Task, {**vars(task), **columns}, is_stored=True)
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
    return update(row, {**changed, "version": row.version + 1, "updated_at": now}, unless_changed=unless_changed)


def writes_of(made: Sequence[Task], changed: Iterable[tuple[Task, Task]], searched: Iterable[Task]) -> list[Statement]:
    """The statements that store many tasks at once.

    changed: what locked ones were, and are now; searched: those of them whose words are others.
    """
    writes = [insertions(made)] if made else []
    # Those of the same columns side by side cost one.
    writes += sorted((_update_of(former, task) for former, task in changed), key=attrgetter("sql"))
    if indexed := [*made, *searched]:
        writes.append(index_words(indexed))
    return writes


def with_new_words(changed: Iterable[tuple[Task, Task]]) -> list[Task]:
    """Of tasks with what they were before, those that a search finds by other words now."""
    words = attrgetter(*sorted(SEARCHED))
    return [task for former, task in changed if words(former) != words(task)]


def _update_of(former: Task, task: Task) -> Statement:
    """The statement for the columns in which a locked task differs from what it was."""
    return update(
        task, {name: new for name in model_columns(Task) if (new := getattr(task, name)) != getattr(former, name)}
    )


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


def place_reminders(tasks: Iterable[tuple[Task, str, Sequence[str]]], now: datetime) -> None:
    """Keep the rows of the reminders of tasks right, each with its owner's time zone and the reminders that it had.

    One whose time has not changed stays as it is; of the others those of the past count as passed.
    """
    rows: list[Reminder] = []
    gone: list[tuple[UUID, str]] = []
    for task, zone, former in tasks:
        own = reminders_of(task, zone, now)
        gone += [(task.id, text) for text in sorted(set(former) - {row.text for row in own})]
        rows += own
    if gone:
        _removal(gone).run()
    for part in _parts(rows):
        insertions(part, otherwise=_KEEP_UNLESS_MOVED).run()


ROWS = 1000
"""Rows in one statement. With 7 values each that is far below the 32,766 that SQLite takes."""
T = TypeVar("T")


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many at once as one statement takes."""
    return (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))


def _removal(reminders: Sequence[tuple[UUID, str]]) -> Statement:
    marks = ", ".join(["(%s, %s)"] * len(reminders))
    params = ((stored_value(_TASK_KEY, task_id, this_connection()), text) for task_id, text in reminders)
    sql = f"DELETE FROM tasks_reminder WHERE (task_id, text) IN (VALUES {marks})"  # noqa: S608
    return Statement(sql, tuple(chain.from_iterable(params)))


def reminders_of(task: Task, zone: str, now: datetime) -> list[Reminder]:
    """The rows, not yet stored, of a task's reminders that have a time."""
    times = {text: reminded_at(text, task.due_at, zone) for text in task.reminders}
    return [
        Reminder(
            id=new_id(), task_id=task.id, owner_id=task.owner_id, text=text, remind_at=at, passed_at=_past(at, now)
        )
        for text, at in times.items()
        if at is not None
    ]


_KEEP_UNLESS_MOVED = (
    "ON CONFLICT (task_id, text) DO UPDATE SET remind_at = excluded.remind_at, passed_at = excluded.passed_at"
    " WHERE tasks_reminder.remind_at <> excluded.remind_at"
)


def index_words(tasks: Sequence[Task]) -> Statement:
    """The statement that makes a search find these tasks by their titles and descriptions, and by nothing else.

    The statement that writes the text itself sets `words_version`, or the text counts as not indexed.
    """
    database, rows = this_connection(), []
    as_vector = database.vendor == "postgresql"
    for task in tasks:
        scope, words = search.scope_of(task.owner_id), search.indexed_words(task.title, task.description)
        text = search.tsvector(words, scope) if as_vector else " ".join(words)
        rows.append((stored_value(_TASK_KEY, task.id, database), scope, text, search.WORDS_FORMAT))
    marks = ", ".join(["(%s, %s, %s::tsvector, %s)" if as_vector else "(%s, %s, %s, %s)"] * len(rows))
    sql = (
        f"INSERT INTO tasks_words (task_id, scope, words, format) VALUES {marks}"  # noqa: S608
        " ON CONFLICT (task_id) DO UPDATE SET words = excluded.words, format = excluded.format"
    )
    return Statement(sql, tuple(value for row in rows for value in row))


_TASK_KEY: Any = Task._meta.pk


def update_alike(change: str, task_ids: Sequence[UUID], now: datetime, *values: Any) -> list[Statement]:
    """The UPDATE of all these tasks, with their versions. change: SQL, from the source alone, with its values."""
    statements = []
    for part in _parts(task_ids):
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
    return _for_pairs(sql, times, Task._meta.pk, Task._meta.get_field("due_at"))


def move_reminders(times: Sequence[tuple[UUID, datetime]]) -> list[Statement]:
    """The UPDATE that gives reminders their new times."""
    sql = (
        "WITH moved (id, at) AS (VALUES {moved}) UPDATE tasks_reminder SET remind_at = moved.at"
        " FROM moved WHERE tasks_reminder.id = moved.id"
    )
    return _for_pairs(sql, times, Reminder._meta.pk, Reminder._meta.get_field("remind_at"))


def move_days(owner_id: UUID, times: Sequence[tuple[date, datetime]]) -> list[Statement]:
    """The UPDATE that places the tasks of whole days anew. Returns the day, status and deleted_at of each."""
    sql = (
        "WITH moved (day, at) AS (VALUES {moved}) UPDATE tasks_task SET due_at = moved.at"
        " FROM moved WHERE owner_id = %s AND due_on = moved.day RETURNING due_on, status, deleted_at"
    )
    owner = stored_value(Task._meta.get_field("owner"), owner_id, this_connection())
    return _for_pairs(sql, times, Task._meta.get_field("due_on"), Task._meta.get_field("due_at"), owner)


def _for_pairs(sql: str, pairs: Sequence[tuple[Any, Any]], key: Any, value: Any, *more: Any) -> list[Statement]:
    """A statement with `{moved}` in it for as many pairs as it takes, of values of these columns."""
    marks, database = "(%s, %s)", this_connection()
    if database.vendor == "postgresql":  # nothing else tells it what they are
        marks = f"(%s::{key.db_type(database)}, %s::{value.db_type(database)})"
    statements = []
    for part in _parts(pairs):
        stored_pairs = ((stored_value(key, one, database), stored_value(value, other, database)) for one, other in part)
        text = sql.format(moved=", ".join([marks] * len(part)))
        statements.append(Statement(text, (*chain.from_iterable(stored_pairs), *more)))
    return statements


def stored(at: datetime) -> Any:
    """An instant as the database driver takes it."""
    return stored_value(Task._meta.get_field("updated_at"), at, this_connection())


def listed(task_ids: Sequence[UUID]) -> tuple[str, tuple[Any, ...]]:
    """Ids of tasks for SQL: the marks, the values."""
    database = this_connection()
    keys = tuple(stored_value(_TASK_KEY, task_id, database) for task_id in task_ids)
    return ", ".join(["%s"] * len(keys)), keys


def _past(at: datetime, now: datetime) -> datetime | None:
    return now if at <= now else None


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
