"""Reads of tasks and categories."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, DateField, IntegerField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from duely.core.actor import Actor
from duely.tasks.models import LIVE, OPEN_TASKS, UNPASSED, Category, Reminder, Task
from duely.tasks.rules import CLOSED, TRASH_DAYS


def any_tasks() -> bool:
    """Whether there is any task at all, in anyone's hands or in the trash."""
    return Task.objects.exists()


def visible_tasks(actor: Actor) -> QuerySet[Task]:
    """The tasks that this actor may see, without those in the trash."""
    tasks = Task.objects.filter(LIVE)
    return tasks if actor.sees_all else tasks.filter(owner_id=actor.user_id)


def visible_categories(actor: Actor) -> QuerySet[Category]:
    """The categories that this actor may see, each with its `task_count`."""
    categories = with_task_count(Category.objects.all())
    return categories if actor.sees_all else categories.filter(owner_id=actor.user_id)


def with_task_count(categories: QuerySet[Category]) -> QuerySet[Any]:
    """Adds `task_count`: the tasks in each that are not in the trash."""
    inside = Task.objects.filter(LIVE, category=OuterRef("pk")).order_by().values("category")
    counted = inside.annotate(number=Count("pk")).values("number")
    return categories.annotate(task_count=Coalesce(Subquery(counted, output_field=IntegerField()), 0))


@dataclass(frozen=True, slots=True)
class DueReminder:
    """A reminder whose time has come. `is_wanted`: its task is neither finished, given up nor in the trash."""

    id: UUID
    task_id: UUID
    owner_id: UUID
    remind_at: datetime
    is_wanted: bool


def due_reminders(now: datetime, limit: int) -> list[DueReminder]:
    """Reminders to send or to drop, the longest due first, locked until the caller's transaction ends.

    Those that another transaction is busy with are left out. Call `actions.pass_reminders` in the same transaction.
    """
    _need_transaction()
    found = (
        Reminder.objects.select_for_update(of=("self",), skip_locked=True, no_key=True)
        .select_related("task")
        .only("task", "owner_id", "remind_at", "task__status", "task__deleted_at")
        .filter(UNPASSED, remind_at__lte=now)
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


def for_the_log(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Only what a sweep writes into the log of each: descriptions are long."""
    return tasks.only("owner_id", "title", "status", "former_status")


def bound_to_zone(owner_id: UUID) -> tuple[list[date], bool]:
    """What hangs on the owner's time zone: the days on which they have all-day tasks, and whether reminders wait.

    One statement, because most who move have neither.
    """
    days = Task.objects.filter(owner_id=owner_id, due_on__isnull=False).values_list("due_on")
    waiting = Reminder.objects.filter(UNPASSED, owner_id=owner_id)
    no_day = Value(None, output_field=DateField())
    found = {day for (day,) in days.union(waiting.annotate(day=no_day).values_list("day"))}
    return sorted(filter(None, found)), None in found


def _need_transaction() -> None:
    """SQLite locks nothing by itself, so Django would let this pass there."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("rows are locked for a transaction")
