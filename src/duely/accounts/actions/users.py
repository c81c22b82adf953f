"""Making accounts, and what changes of them: profiles, roles, who is let in."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import Q

from duely.accounts import queries, rules, steps
from duely.accounts.actions.emails import send_verification
from duely.accounts.codes import lifetime
from duely.accounts.models import EndReason, SignUp, User
from duely.accounts.rules import Purpose, Role
from duely.activity.actions import Changes, Entry, Nobody, record
from duely.core.actor import Actor
from duely.core.errors import (
    AlreadyExists,
    FieldError,
    Forbidden,
    NotFound,
    RateLimited,
    Refused,
    Unavailable,
    ValidationFailed,
)
from duely.database.statements import bulk_insert_statement, insert_statement, update_statement
from duely.jobs.queue import enqueue
from duely.jobs.registry import named
from duely.mail import limits

SUFFIX_BYTES = (2, 4, 8)
"""How much chance goes into a made-up user name, when the shorter one is taken."""


class SignupDisabled(Refused):
    """On this instance only admins create accounts."""

    code = "signup_disabled"
    status = 403
    title = "Sign-up is disabled."


class LastAdmin(Refused):
    """The last active admin cannot be demoted or deactivated."""

    code = "last_admin"
    status = 409
    title = "This is the last active admin."


def sign_up(*, actor: Actor, username: str, email: str, password: str, now: datetime) -> User:
    """Make an account for the one who asks, with the role that new accounts get.

    Raises SignupDisabled (403), ValidationFailed (400), AlreadyExists (409). Records user.created.
    """
    if not settings.SIGNUP_ENABLED:
        raise SignupDisabled("Ask an admin for an account.")
    if settings.REQUIRE_EMAIL_VERIFICATION:
        return _sign_up_later(actor, username, email, password, now)
    role = Role(settings.DEFAULT_ROLE)
    return create_user(actor=actor, username=username, email=email, password=password, role=role, now=now)


def _sign_up_later(actor: Actor, username: str, email: str, password: str, now: datetime) -> User:
    """Keep what the account will be made of, and send a link; the answer looks as if it were made.

    All of it happens alike when the address has an account already, whose owner is then told. A pending sign-up with
    the same name and address is replaced: its link stops working, and the new one goes to the same mailbox.
    """
    user = steps.new_user(username, email, Role(settings.DEFAULT_ROLE), now)
    _refuse_bad_fields(user, password)
    # Refused before the link is counted: a refused sign-up must not use up links.
    if queries.is_name_taken(user.username_key, user.email_key, now):
        raise _taken(["username"])
    counts = steps.limit_links(actor, user.email, now)
    kept = SignUp(
        id=user.id,
        username=user.username,
        username_key=user.username_key,
        email=user.email,
        email_key=user.email_key,
        password=make_password(password),
        created_at=now,
        expires_at=now + lifetime(Purpose.SIGN_UP),
    )
    with transaction.atomic():
        replaced = Q(expires_at__lte=now) | Q(email_key=kept.email_key)
        SignUp.objects.filter(replaced, username_key=kept.username_key).delete()
        is_new = bulk_insert_statement([kept], otherwise="ON CONFLICT DO NOTHING").run()
        if is_new:
            enqueue(named("accounts.send_sign_up"), sign_up_id=str(kept.id))
            changes: Changes = {"username": [None, kept.username]}
            record(actor, "auth.sign_up_requested", Nobody("user"), at=now, changes=changes)
        else:
            limits.give_back(counts, now)
    if not is_new:
        raise _taken(["username"])  # someone else was quicker
    return user


def sign_up_by_mail(*, actor: Actor, email: str, now: datetime) -> User:
    """Make an account for whoever reads the mail of this address, under a name made of it, without a password.

    In the caller's transaction. Returns the account that another request has made meanwhile, if one has. Raises
    Unavailable (503) when every made-up name is taken. Records user.created.
    """
    role = Role(settings.DEFAULT_ROLE)
    for suffix in ("", *(f"-{secrets.token_hex(size)}" for size in SUFFIX_BYTES)):
        user = steps.new_user(rules.username_from(email, suffix), email, role, now)
        user.email_verified = True
        user.password = make_password(None)
        is_free = not queries.taken_fields(user.username_key, user.email_key, now)
        if is_free and bulk_insert_statement([user], otherwise="ON CONFLICT DO NOTHING").run():
            record(steps.acting_as(actor, user), "user.created", user, at=now, changes=steps.creation(user))
            return user
        if other := queries.user_by_email(user.email_key):
            return other
    raise Unavailable


def create_admin(*, username: str, email: str, password: str, now: datetime) -> User:
    """Make an admin, by whoever runs this instance. Raises ValidationFailed, AlreadyExists. Records user.created."""
    return create_user(actor=None, username=username, email=email, password=password, role=Role.ADMIN, now=now)


def create_user(*, actor: Actor | None, username: str, email: str, password: str, role: Role, now: datetime) -> User:
    """Make an account. The actor is then the new user, who is sent a link to verify their address. Over the limit of
    links the account is made without one: its profile says how to get a link.

    With the system as actor (None) the address counts as verified: whoever runs this instance says whose it is.
    Raises ValidationFailed (400) with every faulty field, AlreadyExists (409) naming what is taken.
    Records user.created.
    """
    user = steps.new_user(username, email, role, now)
    _refuse_bad_fields(user, password)
    _refuse_taken(user, now)
    user.password = make_password(password)
    user.email_verified = actor is None
    who = actor and steps.acting_as(actor, user)
    has_link = actor is not None and _may_have_link(actor, user, now)
    try:
        with transaction.atomic():
            if who is None:
                steps.end_sign_ups({user.email_key}, now)
                steps.end_codes(user.id, {user.email_key}, now)
            record(who, "user.created", user, at=now, changes=steps.creation(user), write=insert_statement(user))
            if who is not None and has_link:
                send_verification(actor=who, user=user, now=now)
    except IntegrityError:
        _refuse_taken(user, now)  # someone else was quicker
        raise
    return user


def _may_have_link(actor: Actor, user: User, now: datetime) -> bool:
    try:
        steps.limit_links(actor, user.email, now)
    except RateLimited:
        return False
    return True


def update_profile(*, actor: Actor, values: Mapping[str, Any], now: datetime) -> User:
    """Change these fields of the actor's profile. What is so already is no change. Records user.profile_updated."""
    with transaction.atomic():
        locked = steps.lock(actor.user_id)
        changes = {name: [getattr(locked, name), new] for name, new in values.items() if getattr(locked, name) != new}
        if changes:
            write = update_statement(locked, {name: new for name, (_, new) in changes.items()})
            record(actor, "user.profile_updated", locked, at=now, changes=changes, write=write)
    return locked


def change_user(
    *, actor: Actor | None, user_id: UUID, role: Role | None = None, is_active: bool | None = None, now: datetime
) -> User:
    """Change someone's role, or let them in or keep them out. None leaves a thing as it is.

    With each of these changes everything ends that gave access to the account, so that nothing set up before can be
    used after it. The user is told by mail of a new role and of deactivation. Raises NotFound (404), Forbidden (403)
    when the actor has ceased to be an admin, LastAdmin (409). Records user.role_changed, user.deactivated,
    user.reactivated.
    """
    with transaction.atomic():
        # All admins are locked, in one order: two of them who demote each other come one after the other.
        rows = User.objects.filter(queries.ADMINS | Q(pk=user_id)).order_by("pk").select_for_update(no_key=True)
        locked = {row.pk: row for row in rows}
        admins = {row.pk for row in locked.values() if row.is_staff}
        if actor is not None and actor.id not in admins:
            raise Forbidden("You are no longer an admin.")
        if user_id not in locked:
            raise NotFound("There is no such user.")
        changed = locked[user_id]
        entries = _changes_of_user(changed, role, is_active)
        columns = {name: new for entry in entries for name, (_, new) in entry.changes.items()}
        stays = columns.get("role", changed.role) == Role.ADMIN.value and columns.get("is_active", changed.is_active)
        if admins == {changed.pk} and not stays:
            raise LastAdmin("Make someone else an admin first.")
        write = steps.end_access(changed, columns, _END_REASONS[entries[-1].action], now)[0] if entries else None
        for entry in entries:
            seq = record(actor, entry.action, changed, at=now, changes=entry.changes, write=write)
            if entry.action != "user.reactivated":
                steps.tell_owner(changed, seq)
            write = None
    return changed


_END_REASONS = {
    "user.role_changed": EndReason.ROLE_CHANGED,
    "user.deactivated": EndReason.DEACTIVATED,
    "user.reactivated": EndReason.REACTIVATED,
}


def _changes_of_user(user: User, role: Role | None, is_active: bool | None) -> Sequence[Entry]:
    entries = []
    if role is not None and role.value != user.role:
        entries.append(Entry("user.role_changed", user, {"role": [user.role, role.value]}))
    if is_active is not None and is_active != user.is_active:
        action = "user.reactivated" if is_active else "user.deactivated"
        entries.append(Entry(action, user, {"is_active": [user.is_active, is_active]}))
    return entries


def _refuse_bad_fields(user: User, password: str) -> None:
    faults = {
        "username": rules.username_fault(user.username),
        "email": rules.email_fault(user.email),
        "password": rules.password_fault(password, user),
    }
    errors = [FieldError(name, *fault) for name, fault in faults.items() if fault]
    if errors:
        raise ValidationFailed(*errors)


def _refuse_taken(user: User, now: datetime) -> None:
    taken = queries.taken_fields(user.username_key, user.email_key, now)
    if taken:
        raise _taken(taken)


def _taken(names: Sequence[str]) -> AlreadyExists:
    errors = [FieldError(name, "already_exists", f"Another account has this {name}.") for name in names]
    return AlreadyExists(f"Another account has this {' and this '.join(names)}.", errors=errors)
