"""The limit of mails to one mailbox within a day. The database counts, so that it is exact over all workers."""

import hashlib
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection, transaction
from django.db.models import F, QuerySet

from duely.mail import recipients
from duely.mail.models import MailCount
from duely.mail.rules import DAILY_LIMITS, Allowance, mailbox_of

KEEP = timedelta(days=7)


def next_day(now: datetime) -> datetime:
    """When all limits begin anew."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time.min, UTC)


def spend(address: str, allowance: Allowance, now: datetime) -> bool:
    """Count a mail to this address. False when the limit is reached, which is put on record the first time of a day."""
    limit = DAILY_LIMITS[allowance]
    with transaction.atomic():
        _add_missing(address, allowance, now)
        rows = _rows(address, allowance, now)
        # One statement looks and counts: two workers cannot both take the last place.
        if rows.filter(sent__lt=limit).update(sent=F("sent") + 1):
            return True
        rows.update(refused=F("refused") + 1)
        directory = recipients.directory()
        if directory is not None and rows.filter(refused=1).exists():
            directory.note_limit(address, allowance, limit=limit, until=next_day(now), now=now)
    return False


def give_back(address: str, allowance: Allowance, now: datetime) -> None:
    """Take back a `spend` of the same instant: the mail did not leave."""
    _rows(address, allowance, now).filter(sent__gt=0).update(sent=F("sent") - 1)


def purge(*, now: datetime, limit: int = 1000) -> int:
    """Remove the counts of past days; returns how many, at most `limit`."""
    old = list(MailCount.objects.filter(day__lt=_day(now - KEEP)).values_list("pk", flat=True)[:limit])
    return MailCount.objects.filter(pk__in=old).delete()[0] if old else 0


def _rows(address: str, allowance: Allowance, now: datetime) -> QuerySet[MailCount]:
    return MailCount.objects.filter(mailbox=_digest(address), day=_day(now), allowance=allowance.value)


def _add_missing(address: str, allowance: Allowance, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO mail_count (mailbox, day, allowance, sent, refused) VALUES (%s, %s, %s, 0, 0)"
            " ON CONFLICT DO NOTHING",
            [_digest(address), _day(now), allowance.value],
        )


def _digest(address: str) -> str:
    return hashlib.sha256(mailbox_of(address).encode()).hexdigest()


def _day(now: datetime) -> date:
    return now.astimezone(UTC).date()
