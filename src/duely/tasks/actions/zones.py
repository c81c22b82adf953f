"""A new time zone of an owner: their whole days, and the reminders that count days, get new places on the time line.

A few are placed in the transaction of the new zone, many by a job in short transactions. Clients see days, which stay.
One entry of the log, user.days_moved, stands for all tasks whose status changes by this (decision 0035).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from duely.accounts.models import User
from duely.activity.actions import Changes, Entry, count_background, record_many
from duely.core.clock import rfc3339
from duely.database.statements import run_all
from duely.jobs.queue import Running, enqueue, remember
from duely.jobs.registry import named
from duely.tasks import reminders, statements
from duely.tasks.models import LIVE, Reminder, Task
from duely.tasks.queries import bound_to_zone, following_days, following_reminders
from duely.tasks.rules import OPEN, Status, placed, reminded_at

FEW = 200
"""All-day tasks, or waiting reminders, that are placed in the transaction of the request."""


def move_whole_days(*, owner_id: UUID, zone: str, now: datetime, user: User | None = None) -> None:
    """Place the owner's all-day tasks and reminders anew after their time zone changed, at once or by a job.

    A reminder that has not passed yet never gets lost by this: if its new time is over already, it is due at once.
    Tasks that are not late any more go back to what they were. Runs in the transaction that changes the zone.
    user: the owner, whose row is locked, with `days_moving_since`; a job is only started for one.
    Records user.days_moved when the status of a task changes, by the system.
    """
    bound = bound_to_zone(owner_id, FEW)
    if user is not None and (bound.has_many or user.days_moving_since is not None):
        _start_moving(user, now)
        return
    moved, overdue = _place_days(owner_id, {day: placed(day, zone) for day in bound.days})
    if bound.has_reminders:
        _move_reminders(list(following_reminders(owner_id, None, FEW)), zone)
    on_time = [day for day in overdue if placed(day, zone) > now]
    if on_time:
        number = _end_lateness(owner_id, on_time, now)
        _record_moved(user or User.objects.get(pk=owner_id), zone, moved, number, now, now)


def _start_moving(user: User, now: datetime) -> None:
    if user.days_moving_since is None:
        user.days_moving_since = now
        User.objects.filter(pk=user.pk).update(days_moving_since=now)
        count_background(user.pk, 1)
    enqueue(named("tasks.move_days"), unique=str(user.pk), owner_id=str(user.pk))


@dataclass(slots=True)
class Progress:
    """How far a job has come, as it is kept with the job: for which zone, behind which task, then which reminder.

    moved, changed: how many tasks got another place, and how many of these another status.
    """

    zone: str = ""
    task: tuple[date, UUID] | None = None
    reminder: tuple[datetime, UUID] | None = None
    has_tasks: bool = True
    moved: int = 0
    changed: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Progress":
        """From what a job kept."""
        progress = cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})
        if progress.task is not None:
            day, task_id = progress.task
            progress.task = date.fromisoformat(str(day)), UUID(str(task_id))
        if progress.reminder is not None:
            at, reminder_id = progress.reminder
            progress.reminder = datetime.fromisoformat(str(at)), UUID(str(reminder_id))
        return progress

    def kept(self) -> dict[str, Any]:
        """As JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("task", "reminder"):
            if values[name] is not None:
                place, row_id = values[name]
                values[name] = [place.isoformat(), str(row_id)]
        return values


@transaction.atomic
def move_some_days(*, running: Running, owner_id: UUID, progress: Progress, limit: int, now: datetime) -> bool:
    """One transaction of the job that places the days and reminders of an owner; returns whether there is more to do.

    It begins anew when the zone has changed since. The last one ends the job. Records user.days_moved at the end, by
    the system.
    """
    running.confirm()
    user = User.objects.select_for_update(no_key=True).get(pk=owner_id)
    if user.days_moving_since is None:
        running.finish()
        return False
    if progress.zone != user.time_zone:
        progress.zone, progress.task, progress.reminder, progress.has_tasks = user.time_zone, None, None, True
    if progress.has_tasks:
        _move_tasks(owner_id, progress, limit, now)
    elif not _move_next_reminders(owner_id, progress, limit):
        running.finish(lambda: _stop_moving(user, progress, now))
        return False
    remember(running, **progress.kept())
    return True


def _move_tasks(owner_id: UUID, progress: Progress, limit: int, now: datetime) -> None:
    tasks = following_days(owner_id, progress.task, limit)
    if not tasks:
        progress.has_tasks = False
        return
    places = {day: placed(day, progress.zone) for day in {task.due_on for task in tasks}}
    moved = [(task.id, places[task.due_on]) for task in tasks if task.due_at != places[task.due_on]]
    run_all(statements.place_tasks(moved))
    live = [task for task in tasks if task.deleted_at is None]
    early = [task.id for task in live if task.status == Status.OVERDUE and places[task.due_on] > now]
    late = [task.id for task in live if task.status in OPEN and places[task.due_on] <= now]
    run_all([*statements.update_alike(END_LATENESS, early, now), *statements.update_alike(BEGIN_LATENESS, late, now)])
    progress.task = tasks[-1].due_on, tasks[-1].id
    progress.moved += len(moved)
    progress.changed += len(early) + len(late)


END_LATENESS = "status = COALESCE(former_status, 'pending'), former_status = NULL"
BEGIN_LATENESS = "former_status = status, status = 'overdue'"


def _move_next_reminders(owner_id: UUID, progress: Progress, limit: int) -> bool:
    """Whether there were some. One that moves to a later time may be met again, where nothing is left to do."""
    rows = following_reminders(owner_id, progress.reminder, limit)
    if not rows:
        return False
    _move_reminders(rows, progress.zone)
    progress.reminder = rows[-1].remind_at, rows[-1].pk
    return True


def _stop_moving(user: User, progress: Progress, now: datetime) -> None:
    since = user.days_moving_since or now
    User.objects.filter(pk=user.pk).update(days_moving_since=None)
    _record_moved(user, progress.zone, progress.moved, progress.changed, since, now)
    count_background(user.pk, -1)


def _record_moved(user: User, zone: str, moved: int, changed: int, since: datetime, now: datetime) -> None:
    changes: Changes = {
        "time_zone": [None, zone],
        "tasks": [None, moved],
        "statuses": [None, changed],
        "since": [None, rfc3339(since)],
    }
    record_many(None, [Entry("user.days_moved", user, changes)], at=now)


def _place_days(owner_id: UUID, places: Mapping[date, datetime]) -> tuple[int, list[date]]:
    """Place the tasks of these days; returns how many, and the days on which some are overdue once they are locked."""
    moved = []
    with connection.cursor() as cursor:
        for statement in statements.move_days(owner_id, list(places.items())):
            cursor.execute(statement.sql, statement.params)
            moved += cursor.fetchall()
    # In Python: SQLite 3.40 answers `deleted_at IS NULL` wrongly in what it returns.
    days = {day for day, status, deleted_at in moved if status == Status.OVERDUE and deleted_at is None}
    return len(moved), sorted(day if isinstance(day, date) else date.fromisoformat(day) for day in days)


def _move_reminders(rows: Sequence[Reminder], zone: str) -> None:
    moved = []
    for row in rows:
        remind_at = reminded_at(row.text, row.task.due_at, zone)
        if remind_at is not None and remind_at != row.remind_at:
            moved.append((row.pk, remind_at))
    run_all(reminders.move_reminders(moved))


def _end_lateness(owner_id: UUID, days: list[date], now: datetime) -> int:
    theirs = Task.objects.filter(LIVE, owner_id=owner_id)  # allow: own_visibility because the zone is the owner's
    overdue = theirs.filter(due_on__in=days, status=Status.OVERDUE.value)
    ids = list(overdue.select_for_update(no_key=True).order_by("id").values_list("pk", flat=True))
    run_all(statements.update_alike(END_LATENESS, ids, now))
    return len(ids)
