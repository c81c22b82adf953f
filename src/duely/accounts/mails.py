"""The mails of accounts: codes, links, and what an owner must know. Each is made when it is sent."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from duely.accounts import codes, queries
from duely.accounts.models import Code, SignUp, User
from duely.accounts.rules import PROFILE_DEFAULTS, Purpose, email_key
from duely.activity.models import Change
from duely.mail.messages import Mail, compose

LINK_PATH: Final = "/verify-email/"
"""The page that a link opens. The token stands behind a `#`: browsers do not send that, so no log has it."""


def of_code(code_id: UUID, now: datetime, job_id: UUID | None = None) -> Mail | None:
    """The mail with this code or link; None when it no longer works, or when nobody is to get it.

    job_id: of the job that sends it. A code that is asked for again is mailed again by another job: with the same id
    the mail would look like a repeat, and mailboxes would hide it.
    """
    code = queries.usable_code(code_id, now)
    if code is None:
        return None
    purpose = Purpose(code.purpose)
    user = code.user or queries.user_by_email(code.email_key)
    if user is not None and not user.is_active:
        return None
    if purpose in (Purpose.SIGN_IN, Purpose.RESET):
        return _digits(code, purpose, user, job_id)
    if purpose is Purpose.VERIFY_EMAIL and (user is None or user.email_key != code.email_key):
        return None  # the address is not theirs any more
    if purpose is Purpose.CHANGE_EMAIL and queries.user_by_email(code.email_key):
        return None  # it is someone's already
    return code_link(code, purpose, user)


def _digits(code: Code, purpose: Purpose, user: User | None, job_id: UUID | None) -> Mail | None:
    if user is None and (purpose is Purpose.RESET or not settings.SIGNUP_ENABLED):
        return None
    return code_mail(code, purpose, user, job_id)


def code_mail(code: Code, purpose: Purpose, user: User | None, job_id: UUID | None = None) -> Mail:
    """The mail with a code."""
    minutes = int((code.expires_at - code.created_at).total_seconds() // 60)
    context = {"purpose": purpose.value, "digits": codes.text(purpose, code), "minutes": minutes}
    context["is_long"] = code.is_long
    return _composed("code", code.email, user, context, f"{code.id}.{job_id}" if job_id else code.id)


def code_link(code: Code, purpose: Purpose, user: User | None) -> Mail:
    """The mail with a link that verifies an address or changes it."""
    context = {"purpose": purpose.value, "link": _link(purpose, code.id), "hours": codes.LINK_HOURS}
    return _composed("link", code.email, user, context, code.id)


def of_sign_up(sign_up_id: UUID, now: datetime) -> Mail | None:
    """The mail with the link that makes an account; for whoever has one, that somebody tried."""
    kept = queries.usable_sign_up(sign_up_id, now)
    if kept is None:
        return None
    user = queries.user_by_email(kept.email_key)
    if user is None:
        return sign_up_link(kept)
    return known_mail(kept, user) if user.is_active else None


def sign_up_link(kept: SignUp) -> Mail:
    """The mail with the link that makes an account."""
    context = {
        "purpose": Purpose.SIGN_UP.value,
        "link": _link(Purpose.SIGN_UP, kept.id),
        "hours": codes.LINK_HOURS,
    }
    return _composed("link", kept.email, None, context, kept.id)


def known_mail(kept: SignUp, user: User) -> Mail:
    """The mail that tells someone of a try to sign up with their address."""
    return _composed("known", user.email, user, {}, kept.id)


def of_change(user_id: UUID, seq: int, *, at_new_address: bool = False) -> Mail | None:
    """The mail that tells an owner of an entry in their log, at the address that the account had before it.

    So whoever changes the address next cannot turn the mail away.
    at_new_address: the second mail of a change of address.
    """
    user = queries.user_by_id(user_id)
    change = queries.change(user_id, seq)
    if user is None or change is None:
        return None
    if at_new_address:
        return change_mail(user, change, str(change.changes["email"][1]), f"{change.id}.new", is_proven=True)
    to, is_proven = queries.address_before(user, seq)
    return change_mail(user, change, to, str(change.id), is_proven=is_proven)


def change_mail(user: User, change: Change, to: str, message_id: str, *, is_proven: bool) -> Mail:
    """The same from user and entry. is_proven: whether the user has shown that `to` is theirs."""
    mail = _composed("change", to, user, {"change": change}, message_id, is_proven=is_proven)
    return replace(mail, account=str(user.id), event=change.action) if is_proven else mail


def _link(purpose: Purpose, row_id: UUID) -> str:
    return f"{settings.PUBLIC_URL}{LINK_PATH}#{codes.token(purpose, row_id)}"


def _composed(
    template: str,
    to: str,
    user: User | None,
    context: Mapping[str, Any],
    row_id: UUID | str,
    *,
    is_proven: bool | None = None,
) -> Mail:
    """is_proven: whether the user has shown that `to` is theirs; None to see whether it is their verified address.

    Anyone may sign up with the address of someone else, or change to it. So a mail to an unproven address holds no
    text that the user may have chosen: neither a name nor the name of a program.
    """
    if is_proven is None:
        is_proven = user is not None and user.email_verified and user.email_key == email_key(to)
    name = (user.display_name or user.username) if user and is_proven else ""
    return compose(
        f"account_{template}",
        to=to,
        context={"name": name, "proven": is_proven, **context},
        locale=user.locale if user else PROFILE_DEFAULTS["locale"],
        zone=user.time_zone if user else PROFILE_DEFAULTS["time_zone"],
        message_id=f"account.{row_id}",
    )
