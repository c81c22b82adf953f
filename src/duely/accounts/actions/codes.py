"""Codes by e-mail: asking for one, and signing in with one.

Whether an account stands behind an address shows nowhere: what is asked for is done alike, and the job that would send
the mail finds out.
"""

from contextlib import suppress
from datetime import datetime

from django.conf import settings
from django.db import transaction

from duely.accounts import queries, steps
from duely.accounts.actions.emails import prove_address
from duely.accounts.actions.sessions import Grant, begin_session
from duely.accounts.actions.users import sign_up_by_mail
from duely.accounts.models import Code, User
from duely.accounts.rules import MAX_REQUESTS_PER_DAY, Purpose, email_key
from duely.activity.actions import Nobody, record
from duely.core.actor import Actor
from duely.core.errors import Refused
from duely.guard.limits import limit_codes
from duely.guard.rules import Rate, counted_address, neighbourhood
from duely.jobs.queue import enqueue
from duely.jobs.registry import named

CODE = "code"
DAY_SECONDS = 86_400


class InvalidCode(Refused):
    """The code is wrong, used or expired, or there were too many wrong tries. The answer does not say which."""

    code = "invalid_code"
    status = 400
    looks_like_attack = True
    title = "The code is not valid."

    def __init__(self) -> None:
        super().__init__("Use the code in the newest e-mail, or request a new one.")


def request_sign_in_code(*, actor: Actor, email: str, now: datetime) -> None:
    """Send a code to sign in with, which makes an account if there is none. One that works already is sent again.

    Raises RateLimited (429) when the requester has asked too often. Records auth.otp_requested.
    """
    _request(actor=actor, purpose=Purpose.SIGN_IN, email=email, action="auth.otp_requested", now=now)


def request_password_reset(*, actor: Actor, email: str, now: datetime) -> None:
    """Send a code that lets a new password be set, if there is an account. One that works already is sent again.

    Raises RateLimited (429) when the requester has asked too often. Records auth.password_reset_requested.
    """
    _request(actor=actor, purpose=Purpose.RESET, email=email, action="auth.password_reset_requested", now=now)


def _request(*, actor: Actor, purpose: Purpose, email: str, action: str, now: datetime) -> None:
    key, requester, network = email_key(email), counted_address(actor.origin.ip), neighbourhood(actor.origin.ip)
    limit_codes(purpose.value, key, actor.origin, Rate(MAX_REQUESTS_PER_DAY, DAY_SECONDS))
    user = queries.user_by_email(key)
    try:
        with transaction.atomic():
            code = steps.code_to_mail(purpose, email, requester, network, now)
            if code is not None:
                # Also when a job for this code waits: that one waits longer when there is somebody to write to, and the
                # time of the answer would tell.
                enqueue(named("accounts.send_code"), code_id=str(code.id))
            record(actor, action, user or Nobody("user"), at=now)
    except steps.NoCodeLeft as refusal:
        # Noted after the transaction: it locks the user, which must come before codes.
        steps.note_refused_code(email, refusal, now)
        raise


def sign_in_with_code(*, actor: Actor, email: str, code: str, now: datetime) -> Grant:
    """Begin a session with a code that was sent by mail. The first time makes the account.

    Raises InvalidCode (400). Records auth.login_succeeded or auth.login_failed, and user.created or
    user.email_verified the first time.
    """
    key = email_key(email)
    found = steps.check_code(Purpose.SIGN_IN, key, code, counted_address(actor.origin.ip), now)
    user = queries.user_by_email(key)
    if found is not None and (user.is_active if user else settings.SIGNUP_ENABLED):
        with suppress(InvalidCode), transaction.atomic():
            return _use(actor, user, found, now)
    with transaction.atomic():
        record(actor, "auth.login_failed", user or Nobody("user"), at=now, changes={"method": [None, CODE]})
    raise InvalidCode


def _use(actor: Actor, user: User | None, code: Code, now: datetime) -> Grant:
    """Use up a code that was right. Raises InvalidCode, which undoes what is done here, when it no longer works."""
    is_new = user is None
    if user is None:
        # Before the account is inserted, as everywhere that one is made.
        steps.end_sign_ups({code.email_key}, now)
        user = sign_up_by_mail(actor=actor, email=code.email, now=now)
    owner = steps.lock(user.id)
    if steps.has_moved(owner, code.email_key) or not steps.use_code(code, now):
        raise InvalidCode
    if is_new:
        steps.end_codes(owner.id, {code.email_key}, now)
    elif not owner.email_verified:
        prove_address(actor=actor, user=owner, now=now)
    return begin_session(actor=actor, user=owner, method=CODE, now=now)
