"""How many mails there may be within a day. The database counts, so that it is exact over all workers."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import F, QuerySet

from duely.mail import recipients
from duely.mail.messages import Mail
from duely.mail.models import MailCount
from duely.mail.rules import DAILY_LIMITS, MAX_NOTICES_OF_EVENT, REQUESTER_SHARES, Allowance, kind_of, mailbox_of

KEEP = timedelta(days=7)


class Count(NamedTuple):
    """What mails are counted for within a day. `waits`: a mail over the limit is sent on the next day, not dropped."""

    key: str
    allowance: Allowance
    limit: int
    waits: bool = False


def next_day(now: datetime) -> datetime:
    """When all limits begin anew."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time.min, UTC)


def counts_of(mail: Mail, *, is_proven: bool) -> Sequence[Count]:
    """What this mail is counted for when it is sent. Empty when it is not limited then.

    Whoever can cause a mail uses up what it is counted for. So nothing that a stranger can cause is counted for
    something that mails to a verified address need (decision 0043).
    """
    kind = kind_of(mail.kind)
    if kind.counted_when_asked or (kind.spares_proven and is_proven):
        return ()
    if kind.by_event and mail.account:
        # With the address: after a change of address the notices to the new one use up none of those to the old one.
        key = f"account:{mail.account}:{mail.event}:{mail.to.casefold()}"
        return (Count(key, kind.allowance, MAX_NOTICES_OF_EVENT, waits=True),)
    return counts_of_mailbox(mail.to, kind.allowance, [mail.requester] if mail.requester else [])


def counts_of_mailbox(address: str, allowance: Allowance, requesters: Sequence[str] = ()) -> Sequence[Count]:
    """The share of each requester, and the mailbox last. Always in this order, so that no two wait for each other."""
    mailbox = mailbox_of(address)
    shares = [
        Count(f"requester:{requester}:{mailbox}", allowance, REQUESTER_SHARES[allowance]) for requester in requesters
    ]
    return (*shares, Count(mailbox, allowance, DAILY_LIMITS[allowance]))


def spend(address: str, counts: Sequence[Count], now: datetime) -> Count | None:
    """Count a mail to this address in all of these, or in none when the limit of one is reached, which is returned.

    The first mail of a day over the limit is put on record.
    """
    with transaction.atomic():
        for number, count in enumerate(counts):
            _add_missing(count, now)
            # One statement looks and counts: two workers cannot both take the last place.
            if not _rows(count, now).filter(sent__lt=count.limit).update(sent=F("sent") + 1):
                give_back(counts[:number], now)
                _note_refusal(address, count, counts[-1], now)
                return count
    return None


def _note_refusal(address: str, full: Count, noted_in: Count, now: datetime) -> None:
    """noted_in: shared by all requesters, so that many of them do not make many entries in the log."""
    _add_missing(noted_in, now)
    _rows(noted_in, now).update(refused=F("refused") + 1)
    directory = recipients.directory()
    if directory is not None and _rows(noted_in, now).filter(refused=1).exists():
        directory.note_limit(address, full.allowance, limit=full.limit, until=next_day(now), now=now)


def give_back(counts: Sequence[Count], now: datetime) -> None:
    """Take back a `spend` of the same instant: the mail did not leave."""
    for count in counts:
        _rows(count, now).filter(sent__gt=0).update(sent=F("sent") - 1)


def purge(*, now: datetime, limit: int = 1000) -> int:
    """Remove the counts of past days; returns how many, at most `limit`."""
    old = list(MailCount.objects.filter(day__lt=_day(now - KEEP)).values_list("pk", flat=True)[:limit])
    return MailCount.objects.filter(pk__in=old).delete()[0] if old else 0


def _rows(count: Count, now: datetime) -> QuerySet[MailCount]:
    return MailCount.objects.filter(mailbox=_digest(count), day=_day(now), allowance=count.allowance.value)


def _add_missing(count: Count, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO mail_count (mailbox, day, allowance, sent, refused) VALUES (%s, %s, %s, 0, 0)"
            " ON CONFLICT DO NOTHING",
            [_digest(count), _day(now), count.allowance.value],
        )


def _digest(count: Count) -> str:
    return hashlib.sha256(count.key.encode()).hexdigest()


def _day(now: datetime) -> date:
    return now.astimezone(UTC).date()
