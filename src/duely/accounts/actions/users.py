"""Making accounts, and what changes of them: profiles, roles, who is let in."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import Q

from duely.accounts import queries, rules, steps
from duely.accounts.models import EndReason, User
from duely.accounts.rules import Role
from duely.activity.actions import Entry, record
from duely.core.actor import Actor
from duely.core.errors import AlreadyExists, FieldError, Forbidden, NotFound, Refused, ValidationFailed
from duely.core.ids import new_id
from duely.core.records import insertion, update


class SignupDisabled(Refused):
    """This instance makes accounts by its admins alone."""

    code = "signup_disabled"
    status = 403
    title = "Nobody can sign up here."


class LastAdmin(Refused):
    """Without this admin nobody could manage the instance."""

    code = "last_admin"
    status = 409
    title = "This is the last active admin."


def sign_up(*, actor: Actor, username: str, email: str, password: str, now: datetime) -> User:
    """Make an account for the one who asks, with the role that new accounts get.

    Raises SignupDisabled (403), ValidationFailed (400), AlreadyExists (409). Records user.created.
    """
    if not settings.SIGNUP_ENABLED:
        raise SignupDisabled("Ask an admin for an account.")
    role = Role(settings.DEFAULT_ROLE)
    return create_user(actor=actor, username=username, email=email, password=password, role=role, now=now)


def create_admin(*, username: str, email: str, password: str, now: datetime) -> User:
    """Make an admin, by whoever runs this instance. Raises ValidationFailed, AlreadyExists. Records user.created."""
    return create_user(actor=None, username=username, email=email, password=password, role=Role.ADMIN, now=now)


def create_user(*, actor: Actor | None, username: str, email: str, password: str, role: Role, now: datetime) -> User:
    """Make an account. The actor is then the new user, unless it is the system (None).

    Raises ValidationFailed (400) with every faulty field, AlreadyExists (409) naming what is taken.
    Records user.created.
    """
    user = _unsaved_user(username, email, role, now)
    _refuse_bad_fields(user, password)
    _refuse_taken(user)
    user.password = make_password(password)
    changes = {"username": [None, user.username], "role": [None, user.role]}
    try:
        with transaction.atomic():
            who = actor and steps.acting_as(actor, user)
            record(who, "user.created", user, at=now, changes=changes, write=insertion(user))
    except IntegrityError:
        _refuse_taken(user)  # someone else was quicker
        raise
    return user


def update_profile(*, actor: Actor, values: Mapping[str, Any], now: datetime) -> User:
    """Change these fields of the actor's profile. What is so already is no change. Records user.profile_updated."""
    with transaction.atomic():
        locked = steps.lock(actor.user_id)
        changes = {name: [getattr(locked, name), new] for name, new in values.items() if getattr(locked, name) != new}
        if changes:
            write = update(locked, {name: new for name, (_, new) in changes.items()})
            record(actor, "user.profile_updated", locked, at=now, changes=changes, write=write)
    return locked


def change_user(
    *, actor: Actor | None, user_id: UUID, role: Role | None = None, is_active: bool | None = None, now: datetime
) -> User:
    """Change someone's role, or let them in or keep them out. None leaves a thing as it is.

    Deactivation ends their sessions. Raises NotFound (404), Forbidden (403) when the actor has ceased to be an
    admin, LastAdmin (409). Records user.role_changed, user.deactivated, user.reactivated.
    """
    with transaction.atomic():
        # All admins are locked, in one order: two of them who demote each other come one after the other.
        rows = User.objects.filter(queries.ADMINS | Q(pk=user_id)).order_by("pk").select_for_update(no_key=True)
        locked = {row.pk: row for row in rows}
        admins = {row.pk for row in locked.values() if row.is_staff}
        if actor is not None and actor.id not in admins:
            raise Forbidden("You are not an admin any more.")
        if user_id not in locked:
            raise NotFound("There is no such user.")
        changed = locked[user_id]
        entries = _changes_of_user(changed, role, is_active)
        columns = {name: new for entry in entries for name, (_, new) in entry.changes.items()}
        stays = columns.get("role", changed.role) == Role.ADMIN.value and columns.get("is_active", changed.is_active)
        if admins == {changed.pk} and not stays:
            raise LastAdmin("Make someone else an admin first.")
        if columns.get("is_active") is False:
            steps.end_sessions(changed, EndReason.DEACTIVATED, now)
        write = update(changed, columns) if columns else None
        for entry in entries:
            record(actor, entry.action, changed, at=now, changes=entry.changes, write=write)
            write = None
    return changed


def _changes_of_user(user: User, role: Role | None, is_active: bool | None) -> Sequence[Entry]:
    entries = []
    if role is not None and role.value != user.role:
        entries.append(Entry("user.role_changed", user, {"role": [user.role, role.value]}))
    if is_active is not None and is_active != user.is_active:
        action = "user.reactivated" if is_active else "user.deactivated"
        entries.append(Entry(action, user, {"is_active": [user.is_active, is_active]}))
    return entries


def _unsaved_user(username: str, email: str, role: Role, now: datetime) -> User:
    name, address = rules.clean_username(username), rules.clean_email(email)
    return User(
        id=new_id(),
        username=name,
        username_key=rules.fold(name),
        email=address,
        email_key=rules.fold(address),
        role=role.value,
        created_at=now,
    )


def _refuse_bad_fields(user: User, password: str) -> None:
    faults = {
        "username": rules.username_fault(user.username),
        "email": rules.email_fault(user.email),
        "password": rules.password_fault(password, user),
    }
    errors = [FieldError(name, *fault) for name, fault in faults.items() if fault]
    if errors:
        raise ValidationFailed(*errors)


def _refuse_taken(user: User) -> None:
    taken = queries.taken_fields(user.username_key, user.email_key)
    if taken:
        errors = [FieldError(name, "already_exists", f"Another account has this {name}.") for name in taken]
        raise AlreadyExists(f"Another account has this {' and this '.join(taken)}.", errors=errors)
