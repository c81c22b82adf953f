"""What happens to an account because of the mails that its mailbox gets."""

from datetime import datetime

from duely.accounts import queries, steps
from duely.accounts.rules import email_key
from duely.activity.actions import Changes, Nobody, record
from duely.database.statements import update_statement
from duely.mail.rules import Allowance


def note_mail_limit(*, address: str, allowance: Allowance, limit: int, until: datetime, now: datetime) -> None:
    """Note that this address gets no more mails of this allowance before `until`, in the caller's transaction.

    Records user.mail_limit_reached, in the log of the account with this address or, without one, in nobody's log.
    """
    changes: Changes = {"allowance": [None, allowance.value], "limit": [None, limit]}
    user = queries.user_by_email(email_key(address))
    if user is None:
        record(None, "user.mail_limit_reached", Nobody("user"), at=now, changes=changes)
        return
    locked = steps.lock(user.id)
    write = update_statement(locked, {"mail_paused_until": until}) if allowance is Allowance.NOTICES else None
    record(None, "user.mail_limit_reached", locked, at=now, changes=changes, write=write)
