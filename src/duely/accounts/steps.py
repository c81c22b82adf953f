"""Steps that several actions take. None of them records anything: that is the action's business."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from msgspec.structs import replace

from duely.accounts import codes, queries
from duely.accounts.models import Code, EndReason, KnownAddress, SignUp, User
from duely.accounts.rules import (
    LONG_CODE_MINUTES,
    MAX_MAILS,
    MAX_MAILS_PER_DAY,
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
from duely.core.errors import FieldError, RateLimited, ValidationFailed
from duely.core.ids import new_id
from duely.database.statements import Statement, bulk_insert_statement, insert_statement, update_statement
from duely.guard.rules import counted_address, neighbourhood
from duely.jobs.queue import enqueue
from duely.jobs.registry import named
from duely.mail import limits
from duely.mail.rules import Allowance


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
    return update_statement(user, {**columns, "signed_out_at": now}), sessions


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


def check_code(purpose: Purpose, key: str, guess: str, requester: str, now: datetime) -> Code | None:
    """The live code of this purpose and address, if `guess` is it.

    requester: the address of whoever guesses. Wrong guesses of one requester leave the code as it is for others.
    The guess counts before it is looked at, in a transaction of its own: nothing that fails later takes it back.
    """
    right = [code for code in _count_guess(purpose, key, requester, now) if codes.is_text(guess, purpose, code)]
    return right[0] if right else None


@transaction.atomic(durable=True)
def _count_guess(purpose: Purpose, key: str, requester: str, now: datetime) -> list[Code]:
    """The codes that this guess is compared with. Each comparison with six digits counts for the day."""
    # All codes are locked: guesses at two of them at once may not slip past the day's limit together.
    live = [code for code in queries.live_codes(purpose, key).select_for_update() if code.expires_at > now]
    left = MAX_WRONG_PER_DAY - queries.sent_today(purpose, key, now).wrong
    compared = []
    for code in reversed(live):
        if code.is_long:
            compared.append(code)
        elif left > 0 and code.tries_of(requester) < MAX_TRIES:
            guesses = {**(code.guesses or {}), requester: code.tries_of(requester) + 1}
            update_statement(code, {"tries": code.tries + 1, "guesses": guesses}).run()
            compared.append(code)
            left -= 1
    return compared


class NoCodeLeft(RateLimited):
    """A requester or network has had as many codes mailed to a mailbox as it may within a day. `full`: its share."""

    def __init__(self, full: limits.Count, now: datetime, *, is_network: bool) -> None:
        about = "You have reached the daily limit of codes that you may request for this mailbox. "
        if is_network:
            about = "Your network has reached the daily limit of codes that it may request for this mailbox. "
        super().__init__(limits.seconds_to_next_day(now), about)
        self.full = full


def code_to_mail(purpose: Purpose, email: str, requester: str, network: str, now: datetime) -> Code | None:
    """The code to mail to this address now, in the caller's transaction: the live one, or a new one.

    None when the live code was mailed often enough, or when another request has just created one. A live code stays
    valid when another one is requested: otherwise strangers could keep its owner out (decision 0026).

    The code is counted for the shares of the requester and of their network at the mailbox, whether or not an account
    has the address. Raises NoCodeLeft (429) when a share is used up. Nothing has changed then, so a refusal costs
    others nothing (decision 0043).
    """
    key = email_key(email)
    live = list(queries.live_codes(purpose, key).select_for_update())
    current = next((code for code in live if code.replaced_at is None), None)
    sent = queries.sent_today(purpose, key, now)
    if current is not None and _is_of_use(current, live, sent.wrong, requester, now):
        if current.mails >= (1 if current.is_long else MAX_MAILS):
            return None
        _take_shares(email, requester, network, now)
        update_statement(current, {"mails": current.mails + 1}).run()
        return current
    shares = _take_shares(email, requester, network, now)
    if current is not None:
        update_statement(current, {"ended_at" if current.expires_at <= now else "replaced_at": now}).run()
    is_long = sent.wrong >= MAX_WRONG_PER_DAY or sent.mails >= MAX_MAILS_PER_DAY
    code = new_code(purpose, email, now, is_long=is_long)
    if bulk_insert_statement([code], otherwise="ON CONFLICT DO NOTHING").run():
        return code
    limits.give_back(shares, now)
    return None


def _take_shares(email: str, requester: str, network: str, now: datetime) -> Sequence[limits.Count]:
    """Count a code for the shares of requester and network, and return these. Raises NoCodeLeft (429)."""
    # Owners are not limited where they have signed in before: otherwise they would get only seven codes a day there.
    if queries.is_owners_place(email_key(email), requester):
        return ()
    shares = limits.shares_of([requester], network, email, Allowance.CODES)
    full = limits.take(shares, now)
    if full is not None:
        raise NoCodeLeft(full, now, is_network=full is shares[-1])
    return shares


def note_refused_code(email: str, refusal: NoCodeLeft, now: datetime) -> None:
    """Count a request that was refused, and record the first one of the day."""
    (mailbox,) = limits.counts_of_mailbox(email, Allowance.CODES)
    limits.note_refusal(email, refusal.full, mailbox, now)


def take_back_mail(code_id: UUID) -> None:
    """Note that a mail with this code was not sent, so that the next requester of a code is mailed it."""
    Code.objects.filter(pk=code_id, mails__gt=0).update(mails=F("mails") - 1)


def _is_of_use(current: Code, live: list[Code], wrong: int, requester: str, now: datetime) -> bool:
    """Whether someone who asks for a code now can use the one that is there."""
    if current.is_nearly_over(now):
        return False
    if current.is_long:
        return True
    # A requester who has mistyped this code too often gets another one, as long as there are no two yet.
    has_other = any(code.replaced_at is not None and code.expires_at > now for code in live)
    return wrong < MAX_WRONG_PER_DAY and (has_other or current.tries_of(requester) < MAX_TRIES)


def new_code(purpose: Purpose, email: str, now: datetime, *, is_long: bool = False) -> Code:
    """The row of a new code for this address, not yet stored."""
    lifetime = timedelta(minutes=LONG_CODE_MINUTES) if is_long else codes.lifetime(purpose)
    return Code(
        id=new_id(),
        purpose=purpose.value,
        email=clean_email(email),
        email_key=email_key(email),
        created_at=now,
        expires_at=now + lifetime,
        is_long=is_long,
    )


def use_code(code: Code, now: datetime) -> bool:
    """Use up a code that was right, which gives back the guess that it cost. False when someone was quicker.

    Another one that would have worked too ends with it.
    """
    mine = Code.objects.filter(pk=code.pk, ended_at__isnull=True)
    if not mine.update(ended_at=now, tries=F("tries") - (0 if code.is_long else 1)):
        return False
    others = queries.live_codes(Purpose(code.purpose), code.email_key).select_for_update()
    Code.objects.filter(pk__in=[other.pk for other in others]).update(ended_at=now)
    return True


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
    insert_statement(code).run()
    return code


def limit_links(actor: Actor, email: str, now: datetime) -> Sequence[limits.Count]:
    """Count a link that the actor requests for this address, and return its counters.

    Raises RateLimited (429) until the next day.

    Each client address, each network and each user has a share of what the mailbox may be sent, so that strangers do
    not use up what its owner needs. Counted and answered alike whether or not there is an account with the address.
    """
    requesters = [counted_address(actor.origin.ip), *([f"user {actor.id}"] if actor.id else [])]
    shares = limits.shares_of(requesters, neighbourhood(actor.origin.ip), email, Allowance.LINKS)
    counts = (*shares, *limits.counts_of_mailbox(email, Allowance.LINKS))
    full = limits.spend(email, counts, now)
    if full is not None:
        if full is counts[-1]:
            about = "This mailbox has reached its daily limit of links. "
        elif full is shares[-1]:
            about = "Your network has reached the daily limit of links that it may request for this mailbox. "
        else:
            about = "You have reached the daily limit of links that you may request for this mailbox. "
        raise RateLimited(limits.seconds_to_next_day(now), about)
    return counts


def end_tokens(user: User, now: datetime, *purposes: Purpose) -> None:
    """End the tokens of these purposes that a user has not used."""
    for purpose in purposes:
        queries.live_tokens(user.id, purpose).update(ended_at=now)


def remember_address(user: User, ip: str | None, now: datetime) -> None:
    """Note that a user has signed in from there. The clean-up keeps the latest fifty."""
    row = KnownAddress(id=new_id(), user=user, network=counted_address(ip), seen_at=now)
    bulk_insert_statement(
        [row], otherwise="ON CONFLICT (user_id, network) DO UPDATE SET seen_at = excluded.seen_at"
    ).run()


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
