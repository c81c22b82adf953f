"""What the clock does to tasks.

Of many tasks at once, each with its entry in the change log.
"""

import collections
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from duely.activity.actions import Entry, record_many
from duely.activity.queries import counted_for, counters_of, owners_counted
from duely.core.actor import Actor
from duely.core.permissions import Permission, require
from duely.core.quotas import LIMITS
from duely.database.slots import pause
from duely.database.statements import Statement
from duely.jobs.pace import Pace
from duely.tasks import statements
from duely.tasks.actions.zones import BEGIN_LATENESS
from duely.tasks.models import UNPASSED, Reminder, StaleWords, Task
from duely.tasks.queries import late_tasks, locked_texts, old_trash, own_trash, stored_by
from duely.tasks.rules import Status
from duely.tasks.search import tasks_with_stale_words

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
        writes = statements.update_alike(BEGIN_LATENESS, [task.id for task in late], now)
        record_many(None, entries, at=now, writes=writes)
    return len(late)


@transaction.atomic
def purge_trash(*, now: datetime, limit: int = SWEEP) -> int:
    """Remove tasks for good that have been in the trash for more than TRASH_DAYS; returns how many.

    At most `limit`, as in `mark_overdue`. Records task.purged, by the system.
    """
    old = list(old_trash(now, limit))
    _purge(None, old, now)
    return len(old)


def empty_trash(*, actor: Actor, now: datetime) -> tuple[int, bool]:
    """Remove the actor's own tasks for good that went to the trash by now, MOST of them at once.

    In short transactions. Returns how many, and whether there are more. Raises Forbidden (403). Records task.purged.
    """
    require(actor, Permission.TASK_EDIT)
    purged, pace = 0, Pace(pause)
    while purged < MOST:
        with pace.step() as limit:
            wanted = min(limit, MOST - purged)
            tasks = list(own_trash(actor, now, wanted))
            _purge(actor, tasks, now)
        purged += len(tasks)
        if len(tasks) < wanted:
            return purged, False
    return purged, True


MOST = 2_000
"""Tasks that one request removes. Each has an entry of some 350 bytes in the log."""


def _purge(actor: Actor | None, tasks: Sequence[Task], now: datetime) -> None:
    if not tasks:
        return
    entries = [Entry("task.purged", task, {"title": [task.title, None]}) for task in tasks]
    marks, ids = statements.listed([task.id for task in tasks])
    writes = [
        Statement(f"DELETE FROM tasks_reminder WHERE task_id IN ({marks})", ids),  # noqa: S608
        Statement(f"DELETE FROM tasks_words WHERE task_id IN ({marks})", ids),  # noqa: S608
        Statement(f"DELETE FROM tasks_task WHERE id IN ({marks})", ids),  # noqa: S608
    ]
    record_many(actor, entries, at=now, writes=writes)


def count_stored(  # allow: silent_action because the numbers of quotas are nobody's data
    *, after: UUID | None, limit: int
) -> UUID | None:
    """Put right how many tasks and categories some owners are counted with; returns the last owner, None at the end.

    The counts are exact but for what code of an earlier release, or SQL, has written. after: the last owner before.
    """
    owners = owners_counted(after, limit)
    for owner_id in owners:
        if stored_by(owner_id) != counted_for(owner_id):
            with transaction.atomic():
                # Whoever stores something comes to this row before they commit: what is counted now is all there is.
                counters = counters_of(owner_id)
                counter = counters.select_for_update().get()
                for kind, number in stored_by(owner_id).items():
                    setattr(counter, kind, number)
                    setattr(counter, f"{kind}_limit", max(number, LIMITS[kind]))
                counters.update(**{name: getattr(counter, name) for kind in LIMITS for name in (kind, f"{kind}_limit")})
    return owners[-1] if owners else None


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
            statements.index_words(tasks).run()
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
    *, owner_ids: Collection[UUID], now: datetime, limit: int = SWEEP
) -> collections.Counter[UUID]:
    """Note that due reminders of these owners came to nothing, in the caller's transaction; returns how many of each.

    At most `limit` together, and none that another transaction is busy with. In no order: to sort all reminders of an
    owner with many would take longer than to pass some.
    """
    due = Reminder.objects.filter(UNPASSED, remind_at__lte=now)
    due = due.filter(owner_id__in=owner_ids)  # allow: own_visibility because a job acts for the system
    rows = due.select_for_update(skip_locked=True, no_key=True).values_list("pk", "owner_id")
    owners = dict(rows[:limit])
    pass_reminders(reminders=list(owners), now=now)
    return collections.Counter(owners.values())
