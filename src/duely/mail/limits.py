"""Daily limits of mails. The database counts, so that the limits are exact over all workers (decision 0043)."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import F, QuerySet

from duely.core.clock import whole_seconds
from duely.mail import recipients
from duely.mail.messages import Mail
from duely.mail.models import MailCount
from duely.mail.rules import (
    DAILY_LIMITS,
    MAX_NOTICES_OF_EVENT,
    NETWORK_SHARES,
    REQUESTER_SHARES,
    Allowance,
    kind_of,
    mailbox_of,
)

KEEP = timedelta(days=7)


class Count(NamedTuple):
    """A counter of mails within a day. `waits`: a mail over the limit is sent on the next day, not dropped."""

    key: str
    allowance: Allowance
    limit: int
    waits: bool = False


def next_day(now: datetime) -> datetime:
    """When the counters restart at zero: midnight UTC."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time.min, UTC)


def seconds_to_next_day(now: datetime) -> int:
    """Whole seconds until all limits begin anew, at least 1."""
    return whole_seconds((next_day(now) - now).total_seconds())


def counts_of(mail: Mail, *, is_proven: bool) -> Sequence[Count]:
    """The counters of a mail that is about to be sent. Empty if it is not limited at that time.

    A mail is counted for the party that can cause it. So a stranger cannot use up a counter that mails to a verified
    address need (decision 0043).
    """
    kind = kind_of(mail.kind)
    if kind.counted_when_asked or (kind.spares_proven and is_proven):
        return ()
    if kind.by_event and mail.account:
        # The key contains the address: after a change of address, notices to the new one do not use up those to the
        # old one.
        key = f"account:{mail.account}:{mail.event}:{mail.to.casefold()}"
        return (Count(key, kind.allowance, MAX_NOTICES_OF_EVENT, waits=True),)
    return counts_of_mailbox(mail.to, kind.allowance)


def counts_of_mailbox(address: str, allowance: Allowance) -> Sequence[Count]:
    """The counter of the mailbox of this address."""
    return (Count(mailbox_of(address), allowance, DAILY_LIMITS[allowance]),)


def shares_of(requesters: Sequence[str], network: str, address: str, allowance: Allowance) -> Sequence[Count]:
    """The counters of these requesters, then of their network, for the mailbox of this address.

    Always in this order, and before the counter of the mailbox, so that no deadlock is possible.
    """
    mailbox = mailbox_of(address)
    shares = [
        Count(f"requester:{requester}:{mailbox}", allowance, REQUESTER_SHARES[allowance]) for requester in requesters
    ]
    return (*shares, Count(f"network:{network}:{mailbox}", allowance, NETWORK_SHARES[allowance]))


def spend(address: str, counts: Sequence[Count], now: datetime) -> Count | None:
    """Add a mail to all counters. If one of them is at its limit, add it to none and return that counter.

    The first mail of a day over the limit is recorded in the change log.
    """
    with transaction.atomic():
        full = take(counts, now)
        if full is not None:
            # The counter of the mailbox, which is the last one and common to all requesters, counts refusals. So many
            # requesters cause only one entry in the log.
            note_refusal(address, full, counts[-1], now)
    return full


def take(counts: Sequence[Count], now: datetime) -> Count | None:
    """The same as `spend` in the caller's transaction, without an entry in the change log."""
    for number, count in enumerate(counts):
        _add_missing(count, now)
        # One statement checks and counts, so that two workers cannot both send the last allowed mail.
        if not _rows(count, now).filter(sent__lt=count.limit).update(sent=F("sent") + 1):
            give_back(counts[:number], now)
            return count
    return None


@transaction.atomic
def note_refusal(address: str, full: Count, mailbox_count: Count, now: datetime) -> None:
    """Count a refusal, and record the first one of the day in the change log. Locks the user with this address."""
    _add_missing(mailbox_count, now)
    _rows(mailbox_count, now).update(refused=F("refused") + 1)
    directory = recipients.directory()
    if directory is not None and _rows(mailbox_count, now).filter(refused=1).exists():
        directory.note_limit(address, full.allowance, limit=full.limit, until=next_day(now), now=now)


def give_back(counts: Sequence[Count], now: datetime) -> None:
    """Undo a `spend` with the same `now`, because the mail was not sent."""
    for count in counts:
        _rows(count, now).filter(sent__gt=0).update(sent=F("sent") - 1)


def purge(*, now: datetime, limit: int = 1000) -> int:
    """Delete at most `limit` counters of past days. Returns their number."""
    old_ids = list(MailCount.objects.filter(day__lt=_day(now - KEEP)).values_list("pk", flat=True)[:limit])
    return MailCount.objects.filter(pk__in=old_ids).delete()[0] if old_ids else 0


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
