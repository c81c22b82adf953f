"""New passwords."""

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.hashers import make_password
from django.db import transaction

from duely.accounts import codes, password_checks, queries, rules, steps
from duely.accounts.actions.codes import InvalidCode
from duely.accounts.actions.emails import InvalidToken
from duely.accounts.models import EndReason, User
from duely.accounts.rules import Purpose, email_key
from duely.activity.actions import Nobody, record
from duely.core.actor import Actor
from duely.core.errors import FieldError, Refused, ValidationFailed
from duely.guard.rules import counted_address


class PasswordReused(Refused):
    """The new password is the old one."""

    code = "password_reused"
    status = 400
    title = "The new password is the same as the old one."

    def __init__(self) -> None:
        fault = FieldError("new_password", self.code, "Choose a password that differs from the current one.")
        super().__init__("Choose another new password.", errors=[fault])


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password that its user may set: the current one was right. `user` is as it was when that was checked."""

    user: User
    hashed: str


def prepare_password(
    *, actor: Actor, user: User, current_password: str, new_password: str, now: datetime
) -> NewPassword:
    """Check the current password of a user and hash the new one. Takes long: call it outside of transactions.

    Raises ValidationFailed (400) for a wrong current password or a weak new one, PasswordReused (400), RateLimited
    (429) after too many wrong ones. Records auth.password_change_failed for a wrong current password.
    """
    if fault := rules.password_fault(new_password, user):
        raise ValidationFailed(FieldError("new_password", *fault))
    if not password_checks.is_right(current_password, user.password, account=f"user {user.id}", actor=actor):
        with transaction.atomic():
            record(actor, "auth.password_change_failed", user, at=now)
        raise steps.wrong_password()
    if new_password == current_password:
        raise PasswordReused
    return NewPassword(user, make_password(new_password))


def change_password(*, actor: Actor, new: NewPassword, now: datetime) -> User:
    """Set a new password. Everything else that gives access to the account ends, the actor's own session excepted.

    The user is told by mail. Raises ValidationFailed (400) when the password has changed since it was checked. Records
    auth.password_changed.
    """
    with transaction.atomic():
        locked = steps.lock(new.user.id)
        if steps.has_changed(new.user, locked):
            raise steps.wrong_password()
        columns = {"password": new.hashed}
        write, _ = steps.end_access(locked, columns, EndReason.PASSWORD_CHANGED, now, keep=actor.session_id)
        seq = record(actor, "auth.password_changed", locked, at=now, write=write)
        steps.tell_owner(locked, seq)
    return locked


def set_password(*, user: User, new_password: str, now: datetime) -> User:
    """Set a user's password, by whoever runs this instance. Everything that gave access to the account ends.

    The user is told by mail. Raises ValidationFailed (400) for a weak password. Records auth.password_changed.
    """
    if fault := rules.password_fault(new_password, user):
        raise ValidationFailed(FieldError("new_password", *fault))
    hashed = make_password(new_password)
    with transaction.atomic():
        locked = steps.lock(user.id)
        write, _ = steps.end_access(locked, {"password": hashed}, EndReason.PASSWORD_CHANGED, now)
        seq = record(None, "auth.password_changed", locked, at=now, write=write)
        steps.tell_owner(locked, seq)
    return locked


def exchange_reset_code(*, actor: Actor, email: str, code: str, now: datetime) -> str:
    """Give a token with which a new password can be set, once, for a code that was sent by mail.

    An earlier token of the user stops working. Raises InvalidCode (400). Records auth.password_reset_granted or
    auth.password_reset_failed.
    """
    key = email_key(email)
    found = steps.check_code(Purpose.RESET, key, code, counted_address(actor.origin.ip), now)
    user = queries.user_by_email(key)
    if found is not None and user is not None and user.is_active:
        with transaction.atomic():
            locked = steps.lock(user.id)
            if not steps.has_moved(locked, key) and steps.use_code(found, now):
                token = steps.new_token(locked, Purpose.RESET_TOKEN, now)
                record(steps.acting_as(actor, user), "auth.password_reset_granted", user, at=now)
                return codes.token(Purpose.RESET_TOKEN, token.id)
    with transaction.atomic():
        record(actor, "auth.password_reset_failed", user or Nobody("user"), at=now)
    raise InvalidCode


def reset_password(*, actor: Actor, reset_token: str, new_password: str, now: datetime) -> User:
    """Set a new password with a token from `exchange_reset_code`. All that gave access to the account ends.

    The user is told by mail.

    Raises InvalidToken (400); ValidationFailed (400) for a weak password and PasswordReused (400), both of which leave
    the token as it is. Records auth.password_reset.
    """
    read = codes.read_token(reset_token, [Purpose.RESET_TOKEN])
    if read is None:
        raise InvalidToken(is_forged=True)
    code = queries.usable_code(read[1], now)
    if code is None or code.user is None:
        raise InvalidToken
    if fault := rules.password_fault(new_password, code.user):
        raise ValidationFailed(FieldError("new_password", *fault))
    if password_checks.is_reused(new_password, code.user.password):
        raise PasswordReused
    hashed = make_password(new_password)
    with transaction.atomic():
        user = steps.lock(code.user.id)
        if steps.has_changed(code.user, user) or not steps.use_token(code, now):
            raise InvalidToken
        # Whoever has the token reads the mail of the address.
        columns = {"password": hashed, "email_verified": True}
        write, ended = steps.end_access(user, columns, EndReason.PASSWORD_RESET, now)
        changes = {"sessions": [ended, 0]}
        who = steps.acting_as(actor, user)
        seq = record(who, "auth.password_reset", user, at=now, changes=changes, write=write)
        steps.tell_owner(user, seq)
    return user
