"""What the clock does to tasks.

Of many tasks at once, each with its entry in the change log.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction

from duely.activity.actions import Entry, record_many
from duely.core.records import Statement
from duely.tasks import steps
from duely.tasks.actions.zones import BEGIN_LATENESS
from duely.tasks.models import UNPASSED, Reminder, StaleWords, Task
from duely.tasks.queries import (
    late_tasks,
    locked_texts,
    old_trash,
    tasks_with_stale_words,
)
from duely.tasks.rules import Status

SWEEP = 500
"""Tasks that one transaction of a sweep takes. More would keep their owners waiting."""


INDEXED = 100
"""Tasks whose words one transaction makes anew, of INDEXED_TEXT characters together."""
INDEXED_TEXT = 30_000


@transaction.atomic
def mark_overdue(*, now: datetime, limit: int = SWEEP) -> int:
    """Make open tasks overdue whose due date has passed, the longest late first; returns how many.

    At most `limit`, and none that someone else is changing just now: call it until it returns 0, and again later.
    Records task.status_changed, by the system.
    """
    late = list(late_tasks(now, limit))
    if late:
        entries = [Entry("task.status_changed", task, {"status": [task.status, Status.OVERDUE.value]}) for task in late]
        writes = steps.update_alike(BEGIN_LATENESS, [task.id for task in late], now)
        record_many(None, entries, at=now, writes=writes)
    return len(late)


@transaction.atomic
def purge_trash(*, now: datetime, limit: int = SWEEP) -> int:
    """Remove tasks for good that have been in the trash for more than TRASH_DAYS; returns how many.

    At most `limit`, as in `mark_overdue`. Records task.purged, by the system.
    """
    old = list(old_trash(now, limit))
    if old:
        entries = [Entry("task.purged", task, {"title": [task.title, None]}) for task in old]
        marks, ids = steps.listed([task.id for task in old])
        writes = [
            Statement(f"DELETE FROM tasks_reminder WHERE task_id IN ({marks})", ids),  # noqa: S608
            Statement(f"DELETE FROM tasks_words WHERE task_id IN ({marks})", ids),  # noqa: S608
            Statement(f"DELETE FROM tasks_task WHERE id IN ({marks})", ids),  # noqa: S608
        ]
        record_many(None, entries, at=now, writes=writes)
    return len(old)


def index_stale_words(  # allow: silent_action because the text itself stays as it is
    *, limit: int = INDEXED
) -> int:
    """Index the text of tasks that a search does not find by it, or by words of an older format; returns how many.

    At most `limit`, and as in `mark_overdue` none that someone else is changing just now: call it until it returns 0.
    """
    stale = tasks_with_stale_words(limit)
    if not stale:
        return 0  # looked at without a lock: usually there is nothing to do
    with transaction.atomic():
        tasks = _as_many_as_are_quick(locked_texts(stale))
        indexed = {task.id for task in tasks}
        if tasks:
            steps.index_words(tasks).run()
        gone = set(stale) - set(Task.objects.filter(pk__in=set(stale) - indexed).values_list("id", flat=True))
        StaleWords.objects.filter(task_id__in=indexed | gone).delete()
    return len(indexed | gone)


def _as_many_as_are_quick(tasks: Iterable[Task]) -> list[Task]:
    """The first of these tasks that have not too much text together: writers on SQLite wait for all of it."""
    chosen: list[Task] = []
    length = 0
    for task in tasks:
        length += len(task.title) + len(task.description)
        if chosen and length > INDEXED_TEXT:
            break
        chosen.append(task)
    return chosen


def pass_reminders(  # allow: silent_action because only what is sent is of interest, and that is recorded elsewhere
    *, reminders: Collection[UUID], now: datetime
) -> int:
    """Note that these reminders, as locked by `queries.due_reminders`, were sent or came to nothing."""
    return Reminder.objects.filter(UNPASSED, pk__in=reminders).update(passed_at=now)


def pass_reminders_of(  # allow: silent_action because the caller records why the reminders come to nothing
    *, owner_id: UUID, now: datetime, limit: int = SWEEP
) -> int:
    """Note that due reminders of one owner came to nothing, in the caller's transaction; returns how many.

    At most `limit`, and none that another transaction is busy with.
    """
    due = Reminder.objects.filter(UNPASSED, owner_id=owner_id, remind_at__lte=now).order_by("remind_at")
    rows = due.select_for_update(skip_locked=True, no_key=True)
    return pass_reminders(reminders=list(rows.values_list("pk", flat=True)[:limit]), now=now)
