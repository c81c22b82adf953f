"""What people do with tasks and categories. Each records its change in the same transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from duely.activity.actions import Changes, Entry, record, record_many
from duely.core.actor import Actor
from duely.core.clock import rfc3339
from duely.core.errors import AlreadyExists, FieldError, ValidationFailed
from duely.core.ids import new_id
from duely.core.records import Statement, deletion, insertion, insertions, update
from duely.tasks.access import category_for, locked_task_for, owner_for
from duely.tasks.models import LIVE, UNPASSED, Category, Reminder, Task
from duely.tasks.queries import bound_to_zone, for_the_log, late_tasks, old_trash
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
SWEEP = 500
"""Tasks that one transaction of a sweep takes. More would keep their owners waiting."""
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
            _place_reminders(task, zone, now)
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
    zone: str = task.zone  # type: ignore[attr-defined]
    before, due_at, texts = _logged(task), task.due_at, task.reminders
    columns = _columns(task, _status_given(fields), zone, now)
    statement = _edit(task, columns, now)
    if statement is not None:
        if (task.due_at, task.reminders) != (due_at, texts):
            _place_reminders(task, zone, now, former=texts)
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
        [*entries, Entry("category.deleted", category, {"name": [category.name, None]})],
        at=now,
        writes=[*(write for write in writes if write), deletion(category)],
    )


@transaction.atomic
def mark_overdue(*, now: datetime, limit: int = SWEEP) -> int:
    """Make open tasks overdue whose due date has passed, the longest late first; returns how many.

    At most `limit`, and none that someone else is changing just now: call it until it returns 0, and again later.
    Records task.status_changed, by the system.
    """
    late = list(late_tasks(now, limit))
    if late:
        entries = [Entry("task.status_changed", task, {"status": [task.status, Status.OVERDUE.value]}) for task in late]
        record_many(None, entries, at=now, writes=[_sweep("former_status = status, status = 'overdue'", late, now)])
    return len(late)


@transaction.atomic
def purge_trash(*, now: datetime, limit: int = SWEEP) -> int:
    """Remove tasks for good that have been in the trash for more than TRASH_DAYS; returns how many.

    At most `limit`, as in `mark_overdue`. Records task.purged, by the system.
    """
    old = list(old_trash(now, limit))
    if old:
        entries = [Entry("task.purged", task, {"title": [task.title, None]}) for task in old]
        marks, ids = _listed(old)
        writes = [
            Statement(f"DELETE FROM tasks_reminder WHERE task_id IN ({marks})", ids),  # noqa: S608
            Statement(f"DELETE FROM tasks_task WHERE id IN ({marks})", ids),  # noqa: S608
        ]
        record_many(None, entries, at=now, writes=writes)
    return len(old)


def pass_reminders(  # allow: silent_action because only what is sent is of interest, and that is recorded elsewhere
    *, reminders: Collection[UUID], now: datetime
) -> int:
    """Note that these reminders, as locked by `queries.due_reminders`, were sent or came to nothing."""
    return Reminder.objects.filter(UNPASSED, pk__in=reminders).update(passed_at=now)


def move_whole_days(*, owner_id: UUID, zone: str, now: datetime) -> None:
    """Place the owner's all-day tasks and reminders anew after their time zone changed.

    Clients see days, which stay; only the place on the time line moves. A reminder that has not passed yet never gets
    lost by this: if its new time is over already, it is due at once. Tasks that are not late any more go back to what
    they were; records task.status_changed for each, by the system.
    """
    days, has_reminders = bound_to_zone(owner_id)
    overdue = [day for day in days if _place_day(owner_id, day, placed(day, zone))]
    if has_reminders:
        _move_reminders(owner_id, zone)
    on_time = [day for day in overdue if placed(day, zone) > now]
    if on_time:
        _end_lateness(owner_id, on_time, now)


def _place_day(owner_id: UUID, day: date, at: datetime) -> bool:
    """Place the tasks of one day; returns whether some are overdue, as known once they are locked."""
    values = {"due_at": at, "owner": owner_id, "due_on": day}
    fields: list[tuple[Any, Any]] = [(Task._meta.get_field(name), value) for name, value in values.items()]
    params = [field.get_db_prep_save(value, connection) for field, value in fields]
    with connection.cursor() as cursor:
        cursor.execute(_PLACE_DAY, params)
        return (Status.OVERDUE.value, None) in cursor.fetchall()


# What it returns is compared in Python: SQLite 3.40 answers `deleted_at IS NULL` wrongly here.
_PLACE_DAY = "UPDATE tasks_task SET due_at = %s WHERE owner_id = %s AND due_on = %s RETURNING status, deleted_at"


def _move_reminders(owner_id: UUID, zone: str) -> None:
    waiting = Reminder.objects.filter(UNPASSED, owner_id=owner_id).select_related("task").order_by("id")
    moved = []
    for row in waiting.select_for_update(of=("self",), no_key=True).only("text", "remind_at", "task__due_at"):
        remind_at = reminded_at(row.text, row.task.due_at, zone)
        if remind_at is not None and remind_at != row.remind_at:
            row.remind_at = remind_at
            moved.append(row)
    Reminder.objects.bulk_update(  # allow: full_save because this one column follows from what the log has
        moved, ["remind_at"], batch_size=SWEEP
    )


def _end_lateness(owner_id: UUID, days: list[date], now: datetime) -> None:
    overdue = Task.objects.filter(LIVE, owner_id=owner_id, due_on__in=days, status=Status.OVERDUE.value)
    tasks = list(for_the_log(overdue).select_for_update(no_key=True).order_by("id"))
    entries = [
        Entry("task.status_changed", task, {"status": [task.status, task.former_status or Status.PENDING.value]})
        for task in tasks
    ]
    change = "status = COALESCE(former_status, 'pending'), former_status = NULL"
    record_many(None, entries, at=now, writes=[_sweep(change, tasks, now)])


def _sweep(change: str, tasks: Sequence[Task], now: datetime) -> Statement:
    """The one UPDATE of all these tasks. change: SQL, from the source alone."""
    marks, ids = _listed(tasks)
    at = Task._meta.get_field("updated_at").get_db_prep_save(now, connection)
    sql = f"UPDATE tasks_task SET {change}, version = version + 1, updated_at = %s WHERE id IN ({marks})"  # noqa: S608
    return Statement(sql, (at, *ids))


def _listed(tasks: Sequence[Task]) -> tuple[str, tuple[Any, ...]]:
    """Their ids for SQL: the marks, the values."""
    key = Task._meta.pk
    return ", ".join(["%s"] * len(tasks)), tuple(key.get_db_prep_save(task.pk, connection) for task in tasks)


def _place_reminders(task: Task, zone: str, now: datetime, *, former: Sequence[str] = ()) -> None:
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
