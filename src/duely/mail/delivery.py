"""From a job to the mail server. Every mail takes this way, so this is where it is decided which mails may go where."""

from enum import StrEnum

import structlog

from duely.jobs.queue import Postponed, Running
from duely.mail import limits, recipients, transport
from duely.mail.messages import Mail
from duely.mail.rules import kind_of

log = structlog.get_logger("duely.mail")


class Delivery(StrEnum):
    """What became of a mail that will not be tried again."""

    SENT = "sent"
    REFUSED = "refused"
    """The mail server will never take it."""
    UNPROVEN = "unproven"
    """Nobody has proven that the address is theirs."""
    LIMITED = "limited"
    """As many mails were sent as one mailbox, or one requester, may be sent within a day."""


class OverLimit(Postponed):
    """As many of these mails were sent as may be sent within a day. This one is tried again on the next."""


def deliver(running: Running, mail: Mail, **about: str) -> Delivery:
    """Send the mail of a job, if a mail of its kind may go to its address today. `about` goes into the log.

    Raises OverLimit when it is sent on the next day, Postponed when it may be tried again, LeaseLost when the job is
    another worker's by now.
    """
    # A worker that was held up before this line, longer than its lease, has no say any more.
    running.confirm()
    told = log.bind(job=running.name, mail=mail.kind, **about)
    kind = kind_of(mail.kind)
    # Asked only where it matters: it costs a query.
    is_proven = (not kind.to_unproven or kind.spares_proven) and recipients.is_proven(mail.to)
    if not kind.to_unproven and not is_proven:
        told.info("a mail was not sent: nobody has verified the address")
        return Delivery.UNPROVEN
    counts = limits.counts_of(mail, is_proven=is_proven)
    full = limits.spend(mail.to, counts, running.now)
    if full is not None:
        told.warning("a mail was not sent: the daily limit is reached", allowance=full.allowance.value)
        if full.waits:
            raise OverLimit("The daily limit is reached.", after=limits.next_day(running.now) - running.now)
        return Delivery.LIMITED
    try:
        transport.send(mail)
    except transport.PermanentFailure as failure:
        limits.give_back(counts, running.now)
        told.warning("a mail was refused for good", reason=str(failure))
        return Delivery.REFUSED
    except transport.Unconfirmed as failure:
        # It may have arrived, so it stays counted.
        raise Postponed(str(failure)) from failure
    except transport.TemporaryFailure as failure:
        limits.give_back(counts, running.now)
        raise Postponed(str(failure)) from failure
    return Delivery.SENT
