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
    """The mailbox was sent as many mails of this kind as it may be sent within a day."""


def deliver(running: Running, mail: Mail, **about: str) -> Delivery:
    """Send the mail of a job, if a mail of its kind may go to its address today. `about` goes into the log.

    Raises Postponed when it may be tried again, LeaseLost when the job is another worker's by now.
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
    is_counted = not (kind.spares_proven and is_proven)
    if is_counted and not limits.spend(mail.to, kind.allowance, running.now):
        told.warning("a mail was not sent: the daily limit of the mailbox is reached", allowance=kind.allowance.value)
        if kind.waits:
            raise Postponed(
                "The daily limit of the mailbox is reached.", after=limits.next_day(running.now) - running.now
            )
        return Delivery.LIMITED
    try:
        transport.send(mail)
    except transport.PermanentFailure as failure:
        if is_counted:
            limits.give_back(mail.to, kind.allowance, running.now)
        told.warning("a mail was refused for good", reason=str(failure))
        return Delivery.REFUSED
    except transport.Unconfirmed as failure:
        # It may have arrived, so it stays counted.
        raise Postponed(str(failure)) from failure
    except transport.TemporaryFailure as failure:
        if is_counted:
            limits.give_back(mail.to, kind.allowance, running.now)
        raise Postponed(str(failure)) from failure
    return Delivery.SENT
