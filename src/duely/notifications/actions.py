"""What the clock does about reminders and digests.

What is sent is not in the change log: nothing that people see changes. Notices hold what was sent. Reminders that are
dropped leave no notice; the member's log says how many they were, and why.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from duely.activity.actions import Entry, record_many
from duely.core.ids import new_id
from duely.database.statements import bulk_insert_statement
from duely.jobs.queue import Running, enqueue_many
from duely.jobs.registry import Definition
from duely.notifications.models import Digest, Notice
from duely.notifications.queries import digest_choices, due_digests, open_notices, recipients, unreachable
from duely.notifications.rules import Kind, Outcome, Unreachable, day_of, next_digest
from duely.tasks.actions import pass_reminders, pass_reminders_of
from duely.tasks.queries import due_reminders, next_reminders

BATCH = 100
SHARE = 50
"""Notices of one member that may wait to be sent at a time."""
DROPPED = 500
"""Reminders that one transaction drops: 25 ms on SQLite."""
MOST_PASSED_OVER = 500
"""Members whose reminders a run passes over: each is a value in a statement, and there may be 32,766 on SQLite."""
KEEP_NOTICES = timedelta(days=90)


def queue_reminders(  # allow: silent_action because nobody sees notices
    *, deliver: Definition, now: datetime, passed_over: set[UUID]
) -> int:
    """Queue a mail for each of the next reminders whose time has come; returns how many were dealt with, at most BATCH.

    Selected by state: whatever was missed while nothing ran is caught up with. Nobody has more than SHARE notices
    that wait to be sent, so the reminders of one member never delay those of others. Members whose share is used up
    are added to `passed_over`, and so are those who are sent no reminders now: call `drop_reminders` for them.
    """
    rows = next_reminders(now, BATCH, passing_over=passed_over)
    former = len(passed_over)
    passed_over.update(unreachable({owner_id for _, owner_id in rows}, now))
    reachable = {reminder_id: owner_id for reminder_id, owner_id in rows if owner_id not in passed_over}
    dealt_with = _queue_shares(deliver, reachable, now, passed_over) if reachable else 0
    return dealt_with + len(passed_over) - former


@transaction.atomic
def _queue_shares(deliver: Definition, owners: Mapping[UUID, UUID], now: datetime, passed_over: set[UUID]) -> int:
    """Queue the mails of these reminders as far as the shares of their owners reach. owners: by reminder."""
    used = open_notices(set(owners.values()))
    wanted, passed = set(), []
    for reminder in due_reminders(now, BATCH, among=list(owners)):
        if reminder.is_wanted and used.get(reminder.owner_id, 0) >= SHARE:
            passed_over.add(reminder.owner_id)
            continue
        passed.append(reminder.id)
        if reminder.is_wanted:
            used[reminder.owner_id] = used.get(reminder.owner_id, 0) + 1
            wanted.add((reminder.task_id, reminder.remind_at, reminder.owner_id))
    _notify(deliver, Kind.REMINDER, sorted(wanted), now)
    return pass_reminders(reminders=passed, now=now)


@transaction.atomic
def drop_reminders(*, owner_ids: Collection[UUID], now: datetime) -> int:
    """Drop due reminders of those of these members who are sent none now; returns how many, at most DROPPED.

    Records user.reminders_dropped for each member, unless they want no reminders or are deactivated.
    """
    reasons = unreachable(owner_ids, now)
    dropped = pass_reminders_of(owner_ids=list(reasons), now=now, limit=DROPPED) if reasons else Counter()
    told = [owner_id for owner_id in dropped if reasons[owner_id] in (Unreachable.UNVERIFIED, Unreachable.LIMITED)]
    entries = [
        Entry(
            "user.reminders_dropped",
            user,
            {"reminders": [None, dropped[user.id]], "reason": [None, reasons[user.id].value]},
        )
        for user in recipients(told)
    ]
    record_many(None, entries, at=now)
    return dropped.total()


@transaction.atomic
def queue_digests(*, deliver: Definition, now: datetime) -> int:  # allow: silent_action because nobody sees notices
    """Queue a mail for each digest whose hour has come; returns how many were looked at, at most BATCH.

    After a stop of more than a day only the present day's is sent: the older ones would tell of days gone by.
    """
    due = due_digests(now, BATCH)
    choices = digest_choices([row.user_id for row in due])
    wanted = []
    for row in due:
        choice = choices.get(row.user_id)
        if choice is None:
            Digest.objects.filter(pk=row.user_id).delete()
            continue
        if choice.is_active and day_of(row.next_at, choice.zone) == day_of(now, choice.zone):
            wanted.append((row.user_id, row.next_at, row.user_id))
        Digest.objects.filter(pk=row.user_id).update(next_at=next_digest(choice.hour, choice.zone, now))
    _notify(deliver, Kind.DIGEST, wanted, now)
    return len(due)


def plan_digest(  # allow: silent_action because the change of the profile is recorded
    *, user_id: UUID, hour: int | None, zone: str, now: datetime
) -> None:
    """Set when someone's next digest is due; with no hour, none is."""
    if hour is None:
        Digest.objects.filter(pk=user_id).delete()
        return
    row = Digest(user_id=user_id, next_at=next_digest(hour, zone, now))
    bulk_insert_statement([row], otherwise="ON CONFLICT (user_id) DO UPDATE SET next_at = excluded.next_at").run()


def begin(running: Running, notice_id: UUID) -> Notice | None:  # allow: silent_action because nobody sees notices
    """Note that a notice is about to be sent; None when it has ended already. Raises LeaseLost."""
    with transaction.atomic():
        running.confirm()
        mine = Notice.objects.filter(pk=notice_id, ended_at__isnull=True)
        begun = mine.update(attempts=F("attempts") + 1, attempted_at=running.now)
    return Notice.objects.get(pk=notice_id) if begun else None


def end(running: Running, notice: Notice, outcome: Outcome) -> None:  # allow: silent_action because nobody sees notices
    """Note how a notice ended, and end its job with it. Raises LeaseLost."""
    mine = Notice.objects.filter(pk=notice.pk, ended_at__isnull=True)
    running.finish(lambda: mine.update(ended_at=running.now, outcome=outcome.value))


def purge_notices(*, now: datetime, limit: int = 1000) -> int:  # allow: silent_action because nobody sees notices
    """Forget notices of 90 days ago, whatever became of them; returns how many, at most `limit`."""
    old = list(Notice.objects.filter(created_at__lt=now - KEEP_NOTICES).values_list("pk", flat=True)[:limit])
    return Notice.objects.filter(pk__in=old).delete()[0] if old else 0


def _notify(deliver: Definition, kind: Kind, wanted: Sequence[tuple[UUID, datetime, UUID]], now: datetime) -> None:
    """Add the notices that are not there yet, each with its job."""
    rows = [
        Notice(
            id=new_id(),
            kind=kind.value,
            subject_id=subject,
            due_at=due_at,
            recipient_id=recipient,
            created_at=now,
            attempts=0,
            outcome="",
        )
        for subject, due_at, recipient in wanted
    ]
    if not rows:
        return
    insert = bulk_insert_statement(rows, otherwise="ON CONFLICT DO NOTHING RETURNING id")
    with connection.cursor() as cursor:
        cursor.execute(insert.sql, insert.params)
        new = [str(UUID(str(row[0]))) for row in cursor.fetchall()]
    enqueue_many(deliver, [{"notice_id": notice_id} for notice_id in new])
