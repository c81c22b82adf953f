"""New passwords."""

from datetime import datetime

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction

from duely.accounts import rules, steps
from duely.accounts.models import EndReason, User
from duely.activity.actions import record
from duely.core.actor import Actor
from duely.core.errors import FieldError, Refused, ValidationFailed
from duely.core.records import update


class PasswordReused(Refused):
    """The new password is the old one."""

    code = "password_reused"
    status = 400
    title = "The new password is the same as the old one."

    def __init__(self) -> None:
        fault = FieldError("new_password", self.code, "Choose a password that differs from the present one.")
        super().__init__("Choose another new password.", errors=[fault])


def change_password(*, actor: Actor, user: User, current_password: str, new_password: str, now: datetime) -> User:
    """Set a new password; every other session of the user ends.

    Raises ValidationFailed (400) for a wrong current password or a weak new one, PasswordReused (400).
    Records auth.password_changed, or auth.password_change_failed for a wrong current password.
    """
    if fault := rules.password_fault(new_password, user):
        raise ValidationFailed(FieldError("new_password", *fault))
    if not check_password(current_password, user.password):
        with transaction.atomic():
            record(actor, "auth.password_change_failed", user, at=now)
        raise _wrong_password()
    if new_password == current_password:
        raise PasswordReused
    hashed = make_password(new_password)
    with transaction.atomic():
        locked = steps.lock(user.id)
        if steps.has_changed(user, locked):
            raise _wrong_password()
        steps.end_sessions(locked, EndReason.PASSWORD_CHANGED, now, keep=actor.session_id)
        record(actor, "auth.password_changed", locked, at=now, write=update(locked, {"password": hashed}))
    return locked


def _wrong_password() -> ValidationFailed:
    return ValidationFailed(FieldError("current_password", "wrong_password", "This is not your password."))
