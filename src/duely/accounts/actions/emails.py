"""Whose an e-mail address is: verifying it, and changing to another one."""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction

from duely.accounts import codes, password_checks, queries, steps
from duely.accounts.models import EndReason, SignUp, User
from duely.accounts.rules import Purpose, Role, email_key
from duely.activity.actions import Changes, record
from duely.core.actor import Actor
from duely.core.errors import AlreadyExists, Refused
from duely.core.records import insertion, update
from duely.guard.limits import limit_mailbox
from duely.jobs.queue import enqueue
from duely.jobs.registry import named

BY_LINK = (Purpose.VERIFY_EMAIL, Purpose.CHANGE_EMAIL, Purpose.SIGN_UP)


class InvalidToken(Refused):
    """Not one of ours, used, too old, or followed by a newer one: one answer for all of them."""

    code = "invalid_token"
    status = 400
    title = "The token does not work any more."

    def __init__(self, *, is_forged: bool = False) -> None:
        super().__init__("Ask for a new one.")
        self.looks_like_attack = is_forged


def request_verification(*, actor: Actor, user: User, now: datetime) -> None:
    """Send a link with which this user shows that they read the mail of their address, unless they have.

    Raises RateLimited (429). Records auth.verification_requested.
    """
    if user.email_verified:
        return
    limit_mailbox(user.email_key, actor.origin)
    with transaction.atomic():
        send_verification(actor=actor, user=steps.lock(user.id), now=now)


def send_verification(*, actor: Actor, user: User, now: datetime) -> None:
    """The same for a user who is locked, or new, in the caller's transaction. Records auth.verification_requested."""
    token = steps.new_token(user, Purpose.VERIFY_EMAIL, now)
    enqueue(named("accounts.send_code"), code_id=str(token.id))
    record(actor, "auth.verification_requested", user, at=now)


def prove_address(*, actor: Actor, user: User, now: datetime) -> None:
    """Note that a user, who is locked, has shown by a code that they read the mail of their address.

    Until now anyone could have made this account, to have a password for it when its owner comes: whatever was set up
    before ends. Records user.email_verified.
    """
    had_password = user.has_usable_password()
    ended = steps.end_sessions(user, EndReason.ADDRESS_PROVEN, now)
    changes: Changes = {"email_verified": [False, True], "sessions": [ended, 0]}
    write = update(user, {"email_verified": True, "password": make_password(None), "signed_out_at": now})
    seq = record(steps.acting_as(actor, user), "user.email_verified", user, at=now, changes=changes, write=write)
    if had_password:
        steps.tell_owner(user, seq)


def verify_email(*, actor: Actor, token: str, now: datetime) -> User:
    """Use the token of a link that was sent by mail: it verifies an address, changes it, or makes the account.

    Raises InvalidToken (400), AlreadyExists (409) when another account has the new address by now.
    Records user.email_verified, user.email_changed or user.created.
    """
    found = codes.read_token(token, BY_LINK)
    if found is None:
        raise InvalidToken(is_forged=True)
    purpose, row_id = found
    try:
        with transaction.atomic():
            if purpose is Purpose.SIGN_UP:
                return _finish_sign_up(actor, row_id, now)
            return _use_link(actor, purpose, row_id, now)
    except IntegrityError:
        raise AlreadyExists("Another account has this address by now.") from None


def _use_link(actor: Actor, purpose: Purpose, row_id: UUID, now: datetime) -> User:
    code = queries.usable_code(row_id, now)
    if code is None or code.user_id is None:
        raise InvalidToken
    user = steps.lock(code.user_id)
    if not user.is_active or not steps.use_token(code, now):
        raise InvalidToken
    if purpose is Purpose.CHANGE_EMAIL:
        _change_email(actor, user, code.email, now)
    elif code.email_key == user.email_key:
        _verify(actor, user, now)
    else:
        raise InvalidToken
    return user


def _verify(actor: Actor, user: User, now: datetime) -> None:
    if not user.email_verified:
        changes = {"email_verified": [False, True]}
        write = update(user, {"email_verified": True})
        record(steps.acting_as(actor, user), "user.email_verified", user, at=now, changes=changes, write=write)


def _change_email(actor: Actor, user: User, email: str, now: datetime) -> None:
    # What was sent to the old address may be in other hands.
    steps.end_tokens(user, now, Purpose.VERIFY_EMAIL, Purpose.RESET_TOKEN)
    changes: Changes = {"email": [user.email, email], "email_verified": [user.email_verified, True]}
    columns = {"email": email, "email_key": email_key(email), "email_verified": True, "mail_paused_until": None}
    who = steps.acting_as(actor, user)
    seq = record(who, "user.email_changed", user, at=now, changes=changes, write=update(user, columns))
    steps.tell_owner(user, seq)


def _finish_sign_up(actor: Actor, sign_up_id: UUID, now: datetime) -> User:
    """Make the account that was kept until its address is verified."""
    kept = queries.usable_sign_up(sign_up_id, now)
    if kept is None:
        raise InvalidToken
    user = steps.new_user(kept.username, kept.email, Role(settings.DEFAULT_ROLE), now)
    user.id, user.password, user.email_verified = kept.id, kept.password, True
    if not SignUp.objects.filter(pk=kept.pk).delete()[0]:
        raise InvalidToken
    who = steps.acting_as(actor, user)
    record(who, "user.created", user, at=now, changes=steps.creation(user), write=insertion(user))
    return user


def confirm_email_change(*, actor: Actor, user: User, current_password: str, now: datetime) -> User:
    """Check the password of a user who wants another address. Takes long: call it outside of transactions.

    Returns the user as checked. Raises ValidationFailed (400) for a wrong password, RateLimited (429) after too many.
    Records auth.email_change_failed for a wrong password.
    """
    if not password_checks.is_right(current_password, user.password, account=f"user {user.id}", actor=actor):
        with transaction.atomic():
            record(actor, "auth.email_change_failed", user, at=now)
        raise steps.wrong_password()
    return user


def request_email_change(*, actor: Actor, confirmed: User, email: str, now: datetime) -> None:
    """Send a link to a new address; following it makes that the user's own. An earlier link works no more.

    confirmed: from `confirm_email_change`. Nothing tells whether another account has the address. Raises
    ValidationFailed (400) when the password has changed since it was checked, RateLimited (429). Records
    auth.email_change_requested.
    """
    limit_mailbox(email_key(email), actor.origin)
    with transaction.atomic():
        locked = steps.lock(confirmed.id)
        if steps.has_changed(confirmed, locked):
            raise steps.wrong_password()
        token = steps.new_token(locked, Purpose.CHANGE_EMAIL, now, email)
        enqueue(named("accounts.send_code"), code_id=str(token.id))
        record(actor, "auth.email_change_requested", locked, at=now)
