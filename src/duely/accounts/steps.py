"""Steps that several actions take. None of them records anything: that is the action's business."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from msgspec.structs import replace

from duely.accounts import codes, queries
from duely.accounts.models import Code, EndReason, KnownAddress, SignUp, User
from duely.accounts.rules import (
    MAX_TRIES,
    MAX_WRONG_PER_DAY,
    Purpose,
    Role,
    clean_email,
    clean_username,
    email_key,
    fold,
)
from duely.activity.actions import Changes
from duely.core.actor import Actor
from duely.core.errors import FieldError, ValidationFailed
from duely.core.ids import new_id
from duely.core.records import Statement, insertion, insertions, update
from duely.guard.rules import counted_address
from duely.jobs.queue import enqueue
from duely.jobs.registry import named


def lock(user_id: UUID) -> User:
    """The user as they are now; nobody else changes them until the transaction ends."""
    return User.objects.select_for_update(no_key=True).get(pk=user_id)


def has_changed(checked: User, locked: User) -> bool:
    """Whether the password that was checked before the row was locked counts no more."""
    return locked.password != checked.password or not locked.is_active


def has_moved(locked: User, email_key: str) -> bool:
    """Whether a user is deactivated, or has another address than when they were looked up by it."""
    return locked.email_key != email_key or not locked.is_active


def acting_as(actor: Actor, user: User, session_id: UUID | None = None) -> Actor:
    """The actor, now known to be this user."""
    return replace(actor, id=user.id, name=user.username, role=user.role, session_id=session_id, zone=user.time_zone)


def new_user(username: str, email: str, role: Role, now: datetime) -> User:
    """The row, not yet stored, of a new account."""
    name, address = clean_username(username), clean_email(email)
    return User(
        id=new_id(),
        username=name,
        username_key=fold(name),
        email=address,
        email_key=fold(address),
        role=role.value,
        created_at=now,
    )


def creation(user: User) -> Changes:
    """What the change log says of a new account."""
    return {"username": [None, user.username], "role": [None, user.role]}


def end_access(
    user: User, columns: Mapping[str, Any], reason: EndReason, now: datetime, *, keep: UUID | None = None
) -> tuple[Statement, int]:
    """End everything that gives access to the account of a user, who is locked, and set these columns of theirs.

    Ends: sessions with their tokens (but the session `keep`), sessions of the admin's pages, codes, links and reset
    tokens, also those sent to the address that `columns` replaces, and sign-ups that wait with either address. Mails
    that wait in the queue look at the row of their code or link when they are sent, so they are not sent any more.
    Returns the UPDATE, which the caller records, and the number of sessions that ended.

    Every change of a password, an address, a role, `email_verified` or `is_active` goes through here, so that nothing
    that was set up before such a change gives access after it (decision 0025).
    """
    email_keys = {user.email_key, columns.get("email_key", user.email_key)}
    end_sign_ups(email_keys, now)
    end_codes(user.id, email_keys, now)
    sessions = queries.live_sessions(user.id, now).exclude(Q(pk=keep)).update(ended_at=now, end_reason=reason)
    return update(user, {**columns, "signed_out_at": now}), sessions


def end_sign_ups(email_keys: Collection[str], now: datetime) -> set[UUID]:
    """End the sign-ups that wait with one of these addresses; returns their ids."""
    # Locked in the order of their ids, as everywhere: two that each end several rows never wait for each other.
    rows = queries.sign_ups_of(email_keys, now).order_by("pk").select_for_update()
    ids = {sign_up.pk for sign_up in rows}
    SignUp.objects.filter(pk__in=ids).delete()
    return ids


def end_codes(user_id: UUID, email_keys: Collection[str], now: datetime) -> None:
    """End the codes, links and tokens of a user, and those that were sent to one of these addresses."""
    rows = queries.live_codes_of(user_id, email_keys, now).order_by("pk").select_for_update()
    Code.objects.filter(pk__in=[code.pk for code in rows]).update(ended_at=now)


def check_code(purpose: Purpose, key: str, guess: str, now: datetime) -> Code | None:
    """The live code of this purpose and address, if `guess` is it.

    The guess counts before it is looked at, in a transaction of its own: nothing that fails later takes it back.
    """
    code = _count_guess(purpose, key, now)
    return code if code is not None and codes.are_digits(guess, purpose, code.id) else None


@transaction.atomic(durable=True)
def _count_guess(purpose: Purpose, key: str, now: datetime) -> Code | None:
    # All codes of the address are locked: guesses at two of them at once may not slip past the day's limit together.
    live = {code.purpose: code for code in queries.live_codes(key).order_by("pk").select_for_update()}
    code = live.get(purpose.value)
    if code is None or code.expires_at <= now or code.tries >= MAX_TRIES:
        return None
    if queries.sent_today(key, now).wrong >= MAX_WRONG_PER_DAY:
        return None
    update(code, {"tries": code.tries + 1}).run()
    return code


def new_code(purpose: Purpose, email: str, now: datetime) -> Code:
    """The row, not yet stored, of a new code for whoever reads the mail of this address."""
    return Code(
        id=new_id(),
        purpose=purpose.value,
        email=clean_email(email),
        email_key=email_key(email),
        created_at=now,
        expires_at=now + codes.lifetime(purpose),
    )


def use_code(code: Code, now: datetime) -> bool:
    """Use up a code that was right, which gives back the guess that it cost. False when someone was quicker."""
    rows = Code.objects.filter(pk=code.pk, ended_at__isnull=True)
    return bool(rows.update(ended_at=now, tries=F("tries") - 1))


def use_token(code: Code, now: datetime) -> bool:
    """Use up a token. False when someone was quicker."""
    return bool(Code.objects.filter(pk=code.pk, ended_at__isnull=True).update(ended_at=now))


def new_token(user: User, purpose: Purpose, now: datetime, email: str | None = None) -> Code:
    """The row of a new token of this user, who is locked. An earlier one of the same purpose ends.

    email: the address that it is sent to, when that is not the user's own.
    """
    end_tokens(user, now, purpose)
    code = new_code(purpose, email or user.email, now)
    code.user = user
    insertion(code).run()
    return code


def end_tokens(user: User, now: datetime, *purposes: Purpose) -> None:
    """End the tokens of these purposes that a user has not used."""
    for purpose in purposes:
        queries.live_tokens(user.id, purpose).update(ended_at=now)


def remember_address(user: User, ip: str | None, now: datetime) -> None:
    """Note that a user has signed in from there. The clean-up keeps the latest fifty."""
    row = KnownAddress(id=new_id(), user=user, network=counted_address(ip), seen_at=now)
    insertions([row], otherwise="ON CONFLICT (user_id, network) DO UPDATE SET seen_at = excluded.seen_at").run()


def tell_owner(user: User, seq: int, *, at_new_address: bool = False) -> None:
    """Queue the mail that tells a user of the change with this number in their log, in the caller's transaction.

    It goes to the address that the account had before the change. at_new_address: of a change of address a second
    mail goes to the new one.
    """
    enqueue(named("accounts.tell_owner"), user_id=str(user.id), seq=seq)
    if at_new_address:
        enqueue(named("accounts.tell_owner"), user_id=str(user.id), seq=seq, at_new_address=True)


def wrong_password(field: str = "current_password") -> ValidationFailed:
    """The refusal of a wrong current password."""
    return ValidationFailed(FieldError(field, "wrong_password", "This is not your password."))
