"""Queue reminders and digests as notices, and record the outcome of each notice.

A sent mail is not in the change log, because no data of a user changes: its notice is the record. A dropped reminder
has no notice. The user's log has an entry with the number of dropped reminders and the reason.
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
"""Notices of one user that may wait to be sent at the same time."""
MAX_DROPPED = 500
"""Reminders that one transaction drops: 25 ms on SQLite."""
MAX_SKIPPED_OWNERS = 500
"""Users whose reminders a run skips. Each is a value in a statement, and SQLite allows 32,766 of them."""
KEEP_NOTICES = timedelta(days=90)


def queue_reminders(  # allow: silent_action because nobody sees notices
    *, deliver: Definition, now: datetime, skipped_owners: set[UUID]
) -> int:
    """Queue the mails of the next due reminders. Returns the number of handled reminders and new skipped owners.

    The number is at most BATCH; 0 means that nothing is left. Due reminders are selected by their state, so those
    missed during a stop are included. No user has more than SHARE unsent notices, so the reminders of one user do not
    delay those of others. Users with a full share are added to `skipped_owners`, and so are users who get no reminders
    at present: call `drop_reminders` for them.
    """
    rows = next_reminders(now, BATCH, passing_over=skipped_owners)
    skipped_before = len(skipped_owners)
    skipped_owners.update(unreachable({owner_id for _, owner_id in rows}, now))
    owners = {reminder_id: owner_id for reminder_id, owner_id in rows if owner_id not in skipped_owners}
    handled = _queue_shares(deliver, owners, now, skipped_owners) if owners else 0
    return handled + len(skipped_owners) - skipped_before


@transaction.atomic
def _queue_shares(deliver: Definition, owners: Mapping[UUID, UUID], now: datetime, skipped_owners: set[UUID]) -> int:
    """Queue the mails of reminders until the shares of their owners are full. owners: the owner of each reminder."""
    unsent = open_notices(set(owners.values()))
    # A set: two reminders of a task for the same time are one mail.
    notices: set[tuple[UUID, datetime, UUID]] = set()
    handled_ids = []
    for reminder in due_reminders(now, BATCH, among=list(owners)):
        if reminder.is_wanted and unsent.get(reminder.owner_id, 0) >= SHARE:
            skipped_owners.add(reminder.owner_id)
            continue
        handled_ids.append(reminder.id)
        if reminder.is_wanted:
            unsent[reminder.owner_id] = unsent.get(reminder.owner_id, 0) + 1
            notices.add((reminder.task_id, reminder.remind_at, reminder.owner_id))
    _notify(deliver, Kind.REMINDER, sorted(notices), now)
    return pass_reminders(reminders=handled_ids, now=now)


@transaction.atomic
def drop_reminders(*, owner_ids: Collection[UUID], now: datetime) -> int:
    """Drop due reminders of those users who get none at present, at most MAX_DROPPED. Returns their number.

    Records user.reminders_dropped for each user, unless they want no reminders or are deactivated.
    """
    reasons = unreachable(owner_ids, now)
    dropped = pass_reminders_of(owner_ids=list(reasons), now=now, limit=MAX_DROPPED) if reasons else Counter()
    recorded_reasons = (Unreachable.UNVERIFIED, Unreachable.LIMITED)
    recorded_owners = [owner_id for owner_id in dropped if reasons[owner_id] in recorded_reasons]
    entries = [
        Entry(
            "user.reminders_dropped",
            user,
            {"reminders": [None, dropped[user.id]], "reason": [None, reasons[user.id].value]},
        )
        for user in recipients(recorded_owners)
    ]
    record_many(None, entries, at=now)
    return dropped.total()


@transaction.atomic
def queue_digests(*, deliver: Definition, now: datetime) -> int:  # allow: silent_action because nobody sees notices
    """Queue the mails of due digests. Returns the number of digests, at most BATCH.

    After a stop of more than a day only the digest of the current day is sent, because older ones are outdated.
    """
    rows = due_digests(now, BATCH)
    choices = digest_choices([row.user_id for row in rows])
    notices = []
    for row in rows:
        choice = choices.get(row.user_id)
        if choice is None:
            Digest.objects.filter(pk=row.user_id).delete()
            continue
        if choice.is_active and day_of(row.next_at, choice.zone) == day_of(now, choice.zone):
            notices.append((row.user_id, row.next_at, row.user_id))
        Digest.objects.filter(pk=row.user_id).update(next_at=next_digest(choice.hour, choice.zone, now))
    _notify(deliver, Kind.DIGEST, notices, now)
    return len(rows)


def plan_digest(  # allow: silent_action because the change of the profile is recorded
    *, user_id: UUID, hour: int | None, zone: str, now: datetime
) -> None:
    """Set the time of a user's next digest. Without an hour there is no digest."""
    if hour is None:
        Digest.objects.filter(pk=user_id).delete()
        return
    row = Digest(user_id=user_id, next_at=next_digest(hour, zone, now))
    bulk_insert_statement([row], otherwise="ON CONFLICT (user_id) DO UPDATE SET next_at = excluded.next_at").run()


def begin(running: Running, notice_id: UUID) -> Notice | None:  # allow: silent_action because nobody sees notices
    """Store an attempt to send a notice. Returns None if the notice has ended already. Raises LeaseLost."""
    with transaction.atomic():
        running.confirm()
        unsent = Notice.objects.filter(pk=notice_id, ended_at__isnull=True)
        is_unsent = unsent.update(attempts=F("attempts") + 1, attempted_at=running.now)
    return Notice.objects.get(pk=notice_id) if is_unsent else None


def end(running: Running, notice: Notice, outcome: Outcome) -> None:  # allow: silent_action because nobody sees notices
    """Store the outcome of a notice and end its job, in one transaction. Raises LeaseLost."""
    unsent = Notice.objects.filter(pk=notice.pk, ended_at__isnull=True)
    running.finish(lambda: unsent.update(ended_at=running.now, outcome=outcome.value))


def purge_notices(*, now: datetime, limit: int = 1000) -> int:  # allow: silent_action because nobody sees notices
    """Delete at most `limit` notices that are older than 90 days, with any outcome. Returns their number."""
    old_ids = list(Notice.objects.filter(created_at__lt=now - KEEP_NOTICES).values_list("pk", flat=True)[:limit])
    return Notice.objects.filter(pk__in=old_ids).delete()[0] if old_ids else 0


def _notify(deliver: Definition, kind: Kind, notices: Sequence[tuple[UUID, datetime, UUID]], now: datetime) -> None:
    """Insert notices that do not exist yet, each with its job. notices: (subject, due_at, recipient)."""
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
        for subject, due_at, recipient in notices
    ]
    if not rows:
        return
    insert = bulk_insert_statement(rows, otherwise="ON CONFLICT DO NOTHING RETURNING id")
    with connection.cursor() as cursor:
        cursor.execute(insert.sql, insert.params)
        inserted_ids = [str(UUID(str(row[0]))) for row in cursor.fetchall()]
    enqueue_many(deliver, [{"notice_id": notice_id} for notice_id in inserted_ids])
