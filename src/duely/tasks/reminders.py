"""Rows of reminders: one for each reminder of a task that has a time."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from uuid import UUID

from duely.core.ids import new_id
from duely.database.statements import Statement, bulk_insert_statement, driver_value, this_connection
from duely.tasks.models import Reminder, Task
from duely.tasks.queries import TASK_KEY
from duely.tasks.rules import reminded_at
from duely.tasks.statements import for_pairs, parts


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
    for part in parts(rows):
        bulk_insert_statement(part, otherwise=_KEEP_UNLESS_MOVED).run()


def _removal(reminders: Sequence[tuple[UUID, str]]) -> Statement:
    marks = ", ".join(["(%s, %s)"] * len(reminders))
    params = ((driver_value(TASK_KEY, task_id, this_connection()), text) for task_id, text in reminders)
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


def move_reminders(times: Sequence[tuple[UUID, datetime]]) -> list[Statement]:
    """The UPDATE that gives reminders their new times."""
    sql = (
        "WITH moved (id, at) AS (VALUES {moved}) UPDATE tasks_reminder SET remind_at = moved.at"
        " FROM moved WHERE tasks_reminder.id = moved.id"
    )
    return for_pairs(sql, times, Reminder._meta.pk, Reminder._meta.get_field("remind_at"))


def _past(at: datetime, now: datetime) -> datetime | None:
    return now if at <= now else None
