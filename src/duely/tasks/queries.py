"""Reads of tasks and categories."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery

from duely.accounts.models import User
from duely.core.actor import Actor
from duely.core.permissions import Permission
from duely.core.scopes import own_scope, scope
from duely.database.compiled import Row, Visible, model_columns, within
from duely.database.statements import build_row
from duely.tasks.models import IN_TRASH, LIVE, OPEN_TASKS, UNPASSED, Category, Reminder, Task
from duely.tasks.rules import CLOSED, TRASH_DAYS


def any_tasks() -> bool:
    """Whether there is any task at all, in anyone's hands or in the trash."""
    return Task.objects.exists()


TASK_COLUMNS = (
    "id",
    "owner_id",
    "title",
    "description",
    "status",
    "completed_at",
    "priority",
    "due_on",
    "due_at",
    "category_id",
    "tags",
    "reminders",
    "version",
    "created_at",
    "updated_at",
    "deleted_at",
)
"""Of a task, what clients see, in this order."""


def all_tasks() -> QuerySet[Task]:
    """Everyone's tasks, those in the trash too."""
    return Task.objects.all()


def visible_tasks(actor: Actor) -> Visible:
    """The tasks that this actor may see, without those in the trash. Raises Forbidden (403)."""
    return Visible(all_tasks, scope(actor, Permission.TASK_VIEW), (LIVE,))


def visible_trash(actor: Actor) -> Visible:
    """The tasks in the trash that this actor may see. Raises Forbidden (403)."""
    return Visible(all_tasks, scope(actor, Permission.TASK_VIEW), (IN_TRASH,))


def visible_task(actor: Actor, task_id: UUID) -> Row | None:
    """TASK_COLUMNS of one of the tasks that this actor may see, instants as answers show them."""
    found = visible_tasks(actor).select((("pk", task_id),), "one", _columns, shown=len(TASK_COLUMNS))
    return found[0] if found else None


def _columns(tasks: QuerySet[Task]) -> QuerySet[Any]:
    return tasks.values_list(*TASK_COLUMNS)  # allow: user_text_in_query because the names are above


def descriptions(ids: Collection[UUID]) -> dict[UUID, str]:
    """The descriptions of these tasks, whoever has them: for answers that their owner was given before."""
    return dict(Task.objects.filter(pk__in=ids).values_list("pk", "description"))


def unlocked_task(actor: Actor, task_id: UUID) -> Task | None:
    """One of the tasks that this actor may see, which others may change meanwhile."""
    found = visible_tasks(actor).select((("pk", task_id),), "unlocked", _all_columns)
    return _task_of(found[0]) if found else None


def locked_task(actor: Actor, task_id: UUID) -> Task | None:
    """One of the tasks that this actor may see, with `zone`, its owner's time zone: the task and its owner locked."""
    found = visible_tasks(actor).select((("pk", task_id),), "locked", _locked_columns)
    if not found:
        return None
    *values, zone = found[0]
    task = _task_of(values)
    task.zone = zone  # type: ignore[attr-defined]
    return task


def _task_of(values: Sequence[Any]) -> Task:
    columns = dict(zip(_COLUMNS, values, strict=True))
    columns |= {name: UUID(columns[name]) for name in ("id", "owner_id", "category_id") if columns[name]}
    return build_row(Task, columns, is_stored=True)


def with_locked_zone(tasks: QuerySet[Task]) -> QuerySet[Any]:
    """Adds `zone`, the time zone of each one's owner: the tasks and their owners are locked."""
    owner = User.objects.select_for_update(no_key=True).filter(pk=OuterRef("owner_id")).values("time_zone")
    return tasks.annotate(zone=Subquery(owner)).select_for_update(no_key=True)


def _all_columns(tasks: QuerySet[Task]) -> QuerySet[Any]:
    return tasks.values_list(*_COLUMNS)  # allow: user_text_in_query because the names are the model's


def _locked_columns(tasks: QuerySet[Task]) -> QuerySet[Any]:
    found = with_locked_zone(tasks)
    return found.values_list(*_COLUMNS, "zone")  # allow: user_text_in_query because the names are the model's


_COLUMNS = model_columns(Task)


def own_tasks(actor: Actor, made_by: datetime, limit: int) -> QuerySet[Task]:
    """The first so many of the actor's own tasks that were made by then, without those in the trash, locked."""
    _need_transaction()
    mine = within(Task.objects.filter(LIVE, created_at__lte=made_by), own_scope(actor, Permission.TASK_EDIT))
    # The oldest come from an index. To sort all by their ids, the order of locks, would read all of them each time.
    oldest = mine.order_by("created_at", "id").values("pk")[:limit]
    return for_the_log(mine.filter(pk__in=oldest)).order_by("id").select_for_update(no_key=True)


def own_trash(actor: Actor, deleted_by: datetime, limit: int) -> QuerySet[Task]:
    """The first so many of the actor's own tasks that went to the trash by then, locked."""
    _need_transaction()
    mine = within(Task.objects.filter(IN_TRASH, deleted_at__lte=deleted_by), own_scope(actor, Permission.TASK_EDIT))
    oldest = mine.order_by("deleted_at", "id").values("pk")[:limit]
    return for_the_log(mine.filter(pk__in=oldest)).order_by("id").select_for_update()


def stored_by(owner_id: UUID) -> dict[str, int]:
    """How many tasks and categories an owner has, counted one by one, by their names among the quotas."""
    tasks = Task.objects.filter(owner_id=owner_id)  # allow: own_visibility because quotas count what an owner stores
    categories = Category.objects.filter(owner_id=owner_id)  # allow: own_visibility because quotas count as above
    return {"tasks": tasks.count(), "categories": categories.count()}


def instant(at: datetime) -> Any:
    return Task._meta.get_field("created_at").get_db_prep_value(at, connection)


def ids_taken(kind: type[Task | Category], ids: Collection[UUID], actor: Actor) -> frozenset[UUID]:
    """Those of these ids that things of others have."""
    others = kind._default_manager.filter(pk__in=ids)
    others = others.exclude(owner_id=actor.user_id)  # allow: own_visibility because an id is taken whoever has it
    return frozenset(others.values_list("pk", flat=True)) if ids else frozenset()


TASK_KEY: Any = Task._meta.pk


def task_key(identifier: UUID) -> Any:
    """An id as the driver of the database takes it."""
    return TASK_KEY.get_db_prep_value(identifier, connection)


@dataclass(frozen=True, slots=True)
class DueReminder:
    """A reminder whose time has come. `is_wanted`: its task is neither finished, given up nor in the trash."""

    id: UUID
    task_id: UUID
    owner_id: UUID
    remind_at: datetime
    is_wanted: bool


def next_reminders(now: datetime, limit: int, *, passing_over: Collection[UUID] = ()) -> list[tuple[UUID, UUID]]:
    """(id, owner) of reminders whose time has come, the longest due first, but for those of some owners.

    Read without locks, so that a scan past many reminders of one owner keeps nobody waiting.
    """
    rows = Reminder.objects.filter(UNPASSED, remind_at__lte=now)
    rows = rows.exclude(owner_id__in=passing_over)  # allow: own_visibility because a job acts for the system
    return list(rows.order_by("remind_at", "id").values_list("id", "owner_id")[:limit])


def due_reminders(now: datetime, limit: int, *, among: Collection[UUID] | None = None) -> list[DueReminder]:
    """Reminders to send or to drop, the longest due first, locked until the caller's transaction ends.

    Those that another transaction is busy with are left out. Call `actions.pass_reminders` in the same transaction.
    among: ids; None for all reminders.
    """
    _need_transaction()
    wanted = Q() if among is None else Q(pk__in=among)
    found = (
        Reminder.objects.select_for_update(of=("self",), skip_locked=True, no_key=True)
        .select_related("task")
        .only("task", "owner_id", "remind_at", "task__status", "task__deleted_at")
        .filter(wanted, UNPASSED, remind_at__lte=now)
        .order_by("remind_at", "id")[:limit]
    )
    return [
        DueReminder(
            id=row.id,
            task_id=row.task_id,
            owner_id=row.owner_id,
            remind_at=row.remind_at,
            is_wanted=row.task.deleted_at is None and row.task.status not in CLOSED,
        )
        for row in found
    ]


def late_tasks(now: datetime, limit: int) -> QuerySet[Task]:
    """Open tasks past their due date, the longest late first, locked but for those that others have locked."""
    _need_transaction()
    late = Task.objects.filter(OPEN_TASKS, due_at__lte=now).order_by("due_at", "id")
    return for_the_log(late).select_for_update(skip_locked=True, no_key=True)[:limit]


def old_trash(now: datetime, limit: int) -> QuerySet[Task]:
    """Tasks that have been in the trash for too long, the oldest first, locked as in `late_tasks`."""
    _need_transaction()
    old = Task.objects.filter(deleted_at__lt=now - timedelta(days=TRASH_DAYS)).order_by("deleted_at", "id")
    return for_the_log(old).select_for_update(skip_locked=True)[:limit]


def locked_texts(ids: Sequence[UUID]) -> QuerySet[Task]:
    """What a search looks at in these tasks, locked as in `late_tasks`."""
    _need_transaction()
    tasks = Task.objects.filter(pk__in=ids).only("owner_id", "title", "description").order_by("id")
    return tasks.select_for_update(skip_locked=True, no_key=True)


def for_the_log(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Only what a sweep writes into the log of each: descriptions are long."""
    return tasks.only("owner_id", "title", "status", "former_status")


class BoundToZone(NamedTuple):
    """What hangs on an owner's time zone: the days of all-day tasks, and waiting reminders. Or there are many."""

    days: list[date]
    has_reminders: bool
    has_many: bool


def bound_to_zone(owner_id: UUID, few: int) -> BoundToZone:
    """What hangs on the owner's time zone. Reads at most `few` tasks and reminders, and one more of each.

    One statement, because most who move have neither.
    """
    key = task_key(owner_id)
    with connection.cursor() as cursor:
        cursor.execute(_BOUND_TO_ZONE, [key, few + 1, key, few + 1])
        rows = [day for (day,) in cursor.fetchall()]
    days = [day for day in rows if day is not None]
    reminders = len(rows) - len(days)
    distinct = {day if isinstance(day, date) else date.fromisoformat(day) for day in days}
    return BoundToZone(sorted(distinct), reminders > 0, max(len(days), reminders) > few)


_BOUND_TO_ZONE = """
    SELECT due_on FROM (SELECT due_on FROM tasks_task WHERE owner_id = %s AND due_on IS NOT NULL LIMIT %s) days
    UNION ALL SELECT NULL FROM (
        SELECT 1 FROM tasks_reminder WHERE owner_id = %s AND passed_at IS NULL LIMIT %s) waiting
"""  # allow: own_visibility because the zone is the owner's


class DayTask(NamedTuple):
    """What a new time zone may change of an all-day task, or depends on."""

    id: UUID
    due_on: date
    due_at: datetime
    status: str
    deleted_at: datetime | None


def following_days(owner_id: UUID, after: tuple[date, UUID] | None, limit: int) -> list[DayTask]:
    """The owner's all-day tasks behind this day and id, also those in the trash, locked. All of the same day at first.

    Empty at the end.
    """
    _need_transaction()
    theirs = Task.objects.filter(owner_id=owner_id)  # allow: own_visibility because the zone is the owner's
    locked = theirs.filter(due_on__isnull=False).order_by("due_on", "id")
    locked = locked.select_for_update(no_key=True)
    rows: QuerySet[Any, Any] = locked.values_list("id", "due_on", "due_at", "status", "deleted_at")
    if after is None:
        return [DayTask(*row) for row in rows[:limit]]
    day, task_id = after
    # Two ranges of the index, one after the other. With OR each call would pass the tasks of the day before it again.
    found = rows.filter(due_on=day, id__gt=task_id)[:limit] or rows.filter(due_on__gt=day)[:limit]
    return [DayTask(*row) for row in found]


def following_reminders(owner_id: UUID, after: tuple[datetime, UUID] | None, limit: int) -> list[Reminder]:
    """The owner's waiting reminders behind this time and id, locked, with `due_at` of their tasks. Empty at the end."""
    _need_transaction()
    theirs = Reminder.objects.filter(owner_id=owner_id)  # allow: own_visibility because the zone is the owner's
    waiting = theirs.filter(UNPASSED).order_by("remind_at", "id")
    rows = waiting.select_related("task").only("text", "remind_at", "owner_id", "task__due_at")
    rows = rows.select_for_update(of=("self",), no_key=True)
    if after is None:
        return list(rows[:limit])
    at, reminder_id = after
    return list(rows.filter(remind_at=at, id__gt=reminder_id)[:limit] or rows.filter(remind_at__gt=at)[:limit])


def _need_transaction() -> None:
    """SQLite locks nothing by itself, so Django would let this pass there."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("rows are locked for a transaction")
