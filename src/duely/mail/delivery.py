"""Sends the mail of a job. Every mail passes here, so that the rules of `rules.KINDS` apply to all (decision 0009)."""

from enum import StrEnum

import structlog

from duely.jobs.queue import Postponed, Running
from duely.mail import limits, recipients, transport
from duely.mail.messages import Mail
from duely.mail.rules import kind_of

log = structlog.get_logger("duely.mail")


class Delivery(StrEnum):
    """The final outcome of a mail."""

    SENT = "sent"
    REFUSED = "refused"
    """The mail server has refused it permanently."""
    UNPROVEN = "unproven"
    """The address is not verified."""
    LIMITED = "limited"
    """The daily limit of the mailbox is reached."""


class OverLimit(Postponed):
    """The daily limit is reached. The mail is tried again on the next day."""


def deliver(running: Running, mail: Mail, **log_fields: str) -> Delivery:
    """Send the mail of a job if its kind, its address and the daily limits allow it.

    Raises OverLimit if it is sent on the next day, Postponed if it may be tried again, LeaseLost if another worker owns
    the job.
    """
    # A worker that was suspended for longer than its lease must not send a mail that another worker has sent.
    running.confirm()
    mail_log = log.bind(job=running.name, mail=mail.kind, **log_fields)
    kind = kind_of(mail.kind)
    # Only kinds with a rule about verified addresses need this query.
    is_proven = (not kind.to_unproven or kind.spares_proven) and recipients.is_proven(mail.to)
    if not kind.to_unproven and not is_proven:
        mail_log.info("a mail was not sent: nobody has verified the address")
        return Delivery.UNPROVEN
    counts = limits.counts_of(mail, is_proven=is_proven)
    full = limits.spend(mail.to, counts, running.now)
    if full is not None:
        mail_log.warning("a mail was not sent: the daily limit is reached", allowance=full.allowance.value)
        if full.waits:
            raise OverLimit("The daily limit is reached.", after=limits.next_day(running.now) - running.now)
        return Delivery.LIMITED
    try:
        transport.send(mail)
    except transport.PermanentFailure as failure:
        limits.give_back(counts, running.now)
        mail_log.warning("a mail was refused for good", reason=str(failure))
        return Delivery.REFUSED
    except transport.Unconfirmed as failure:
        # The mail may have arrived, so it stays counted.
        raise Postponed(str(failure)) from failure
    except transport.TemporaryFailure as failure:
        limits.give_back(counts, running.now)
        raise Postponed(str(failure)) from failure
    return Delivery.SENT
