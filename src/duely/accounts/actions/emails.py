"""Whose an e-mail address is: verifying it, and changing to another one."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction

from duely.accounts import codes, password_checks, queries, steps
from duely.accounts.models import EndReason, User
from duely.accounts.rules import Purpose, Role, email_key
from duely.activity.actions import Changes, Nobody, Target, record
from duely.core.actor import Actor
from duely.core.errors import AlreadyExists, Refused
from duely.database.statements import insert_statement
from duely.jobs.queue import enqueue
from duely.jobs.registry import named

BY_LINK = (Purpose.VERIFY_EMAIL, Purpose.CHANGE_EMAIL, Purpose.SIGN_UP)


class InvalidToken(Refused):
    """The token is unknown, used, expired, or replaced by a newer one. The answer does not say which."""

    code = "invalid_token"
    status = 400
    title = "The token is not valid."

    def __init__(self, *, is_forged: bool = False) -> None:
        super().__init__("Ask for a new one.")
        self.looks_like_attack = is_forged


def request_verification(*, actor: Actor, user: User, now: datetime) -> None:
    """Send a link with which this user shows that they read the mail of their address, unless they have.

    Raises RateLimited (429). Records auth.verification_requested.
    """
    if user.email_verified:
        return
    steps.limit_links(actor, user.email, now)
    with transaction.atomic():
        send_verification(actor=actor, user=steps.lock(user.id), now=now)


def send_verification(*, actor: Actor, user: User, now: datetime) -> None:
    """The same for a user who is locked, or new, in the caller's transaction. Records auth.verification_requested."""
    token = steps.new_token(user, Purpose.VERIFY_EMAIL, now)
    enqueue(named("accounts.send_code"), code_id=str(token.id))
    record(actor, "auth.verification_requested", user, at=now)


def prove_address(*, actor: Actor, user: User, keep: UUID | None = None, is_owner: bool = False, now: datetime) -> None:
    """Note that somebody has shown that they read the mail of the address of a user, who is locked.

    Until now anyone could have made this account, to have a password for it when the owner of the address comes
    (account pre-hijacking). So everything that gives access to it ends, the password too, unless the actor is known to
    be the one who set it.
    keep: the actor's session, which goes on. is_owner: whether the actor has shown that the account is theirs.
    Records user.email_verified.
    """
    columns: dict[str, Any] = {"email_verified": True}
    changes: Changes = {"email_verified": [False, True]}
    loses_password = _remove_password(user, columns, is_owner=is_owner)
    write, ended = steps.end_access(user, columns, EndReason.ADDRESS_PROVEN, now, keep=keep)
    changes = {**changes, "sessions": [ended, 0], **({"has_password": [True, False]} if loses_password else {})}
    seq = record(steps.acting_as(actor, user), "user.email_verified", user, at=now, changes=changes, write=write)
    if loses_password:
        steps.tell_owner(user, seq)


def _remove_password(user: User, columns: dict[str, Any], *, is_owner: bool) -> bool:
    """Remove the password in `columns`, unless it is known to be the owner's.

    Returns whether a password is lost.
    """
    if is_owner:
        return False
    had_password = user.has_usable_password()
    columns["password"] = make_password(None)
    return had_password


def verify_email(*, actor: Actor, token: str, password: str | None = None, now: datetime) -> User:
    """Use the token of a link that was sent by mail: it verifies an address, changes it, or makes the account.

    The token shows that somebody reads the mail of the address, not that they made the account. Who has signed in to
    it, or gives its `password`, keeps that password, and the session. For anyone else both end (decision 0025).

    Raises InvalidToken (400), ValidationFailed (400) for a wrong password and RateLimited (429) after too many, both of
    which leave the token as it is;
    AlreadyExists (409) when another account has the new address by now.
    Records user.email_verified, user.email_changed or user.created, or auth.email_verification_failed for a wrong
    password.
    """
    read = codes.read_token(token, BY_LINK)
    if read is None:
        raise InvalidToken(is_forged=True)
    purpose, row_id = read
    try:
        if purpose is Purpose.SIGN_UP:
            return _finish_sign_up(actor, row_id, password, now)
        return _use_link(actor, purpose, row_id, password, now)
    except IntegrityError:
        raise AlreadyExists("Another account has this address in the meantime.") from None


def _use_link(actor: Actor, purpose: Purpose, row_id: UUID, password: str | None, now: datetime) -> User:
    code = queries.usable_code(row_id, now)
    if code is None or code.user is None:
        raise InvalidToken
    if password is not None:
        _check_password(actor, password, code.user.password, f"user {code.user.id}", code.user, now)
    with transaction.atomic():
        user = steps.lock(code.user.id)
        if not user.is_active or not steps.use_token(code, now):
            raise InvalidToken
        if password is not None and steps.has_changed(code.user, user):
            raise InvalidToken
        keep = actor.session_id if queries.is_session_of(actor, user.id, now) else None
        is_owner = password is not None or keep is not None
        if purpose is Purpose.CHANGE_EMAIL:
            _change_email(actor, user, code.email, keep=keep, is_owner=is_owner, now=now)
        elif code.email_key != user.email_key:
            raise InvalidToken
        elif not user.email_verified:
            prove_address(actor=actor, user=user, keep=keep, is_owner=is_owner, now=now)
    return user


def _check_password(actor: Actor, password: str, encoded: str, account: str, target: Target, now: datetime) -> None:
    """Hashing takes long, so this comes before the transaction."""
    if not password_checks.is_right(password, encoded, account=account, actor=actor):
        with transaction.atomic():
            record(actor, "auth.email_verification_failed", target, at=now)
        raise steps.wrong_password("password")


def _change_email(actor: Actor, user: User, email: str, *, keep: UUID | None, is_owner: bool, now: datetime) -> None:
    columns: dict[str, Any] = {"email": email, "email_key": email_key(email), "email_verified": True}
    changes: Changes = {"email": [user.email, email], "email_verified": [user.email_verified, True]}
    columns["mail_paused_until"] = None
    loses_password = _remove_password(user, columns, is_owner=is_owner)
    # What was sent to the old address may be in other hands.
    write, ended = steps.end_access(user, columns, EndReason.ADDRESS_CHANGED, now, keep=keep)
    changes = {**changes, "sessions": [ended, 0], **({"has_password": [True, False]} if loses_password else {})}
    seq = record(steps.acting_as(actor, user), "user.email_changed", user, at=now, changes=changes, write=write)
    steps.tell_owner(user, seq, at_new_address=True)


def _finish_sign_up(actor: Actor, sign_up_id: UUID, password: str | None, now: datetime) -> User:
    """Make the account that was kept until its address is verified, without a password unless that is given again."""
    kept = queries.usable_sign_up(sign_up_id, now)
    if kept is None:
        raise InvalidToken
    if password is not None:
        _check_password(actor, password, kept.password, f"sign-up {kept.id}", Nobody("user"), now)
    user = steps.new_user(kept.username, kept.email, Role(settings.DEFAULT_ROLE), now)
    user.id, user.email_verified = kept.id, True
    user.password = make_password(None) if password is None else kept.password
    with transaction.atomic():
        # Sign-ups are locked before the account is inserted, as everywhere that one is made.
        if kept.id not in steps.end_sign_ups({kept.email_key}, now):
            raise InvalidToken
        who = steps.acting_as(actor, user)
        record(who, "user.created", user, at=now, changes=steps.creation(user), write=insert_statement(user))
        steps.end_codes(user.id, {user.email_key}, now)
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
    """Send a link to a new address; following it makes that the user's own. An earlier link stops working.

    confirmed: from `confirm_email_change`. Nothing tells whether another account has the address. Raises
    ValidationFailed (400) when the password has changed since it was checked, RateLimited (429). Records
    auth.email_change_requested.
    """
    steps.limit_links(actor, email, now)
    with transaction.atomic():
        locked = steps.lock(confirmed.id)
        if steps.has_changed(confirmed, locked):
            raise steps.wrong_password()
        token = steps.new_token(locked, Purpose.CHANGE_EMAIL, now, email)
        enqueue(named("accounts.send_code"), code_id=str(token.id))
        record(actor, "auth.email_change_requested", locked, at=now)
