"""What people can do with accounts: sign up, sign in and out, change passwords, profiles and roles.

Locks are taken in one order everywhere: user rows by id, then sessions, then the change log's counter, which
`record` locks. A user's row is locked without its key, so that inserts which refer to it need not wait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.db import IntegrityError, transaction
from django.db.models import Q

from duely.accounts import queries, rules, tokens
from duely.accounts.hashers import NOBODYS_HASH
from duely.accounts.models import EndReason, RefreshToken, Session, User
from duely.accounts.rules import Role
from duely.activity.actions import Entry, Nobody, Target, record
from duely.core.actor import Actor
from duely.core.errors import AlreadyExists, FieldError, Forbidden, NotFound, Refused, ValidationFailed
from duely.core.ids import new_id
from duely.core.records import insertion, update


class SignupDisabled(Refused):
    """This instance makes accounts by its admins alone."""

    code = "signup_disabled"
    status = 403
    title = "Nobody can sign up here."


class InvalidCredentials(Refused):
    """Unknown, wrong or inactive: one answer, so that it tells nothing about who has an account."""

    code = "invalid_credentials"
    status = 401
    title = "The name, the address or the password is wrong."

    def __init__(self) -> None:
        super().__init__("Check them and try again.", headers={"WWW-Authenticate": "Bearer"})


class InvalidRefreshToken(Refused):
    """Unknown, used, run out, or of a session that is over."""

    code = "invalid_refresh_token"
    status = 401
    title = "The refresh token does not work any more."

    def __init__(self) -> None:
        super().__init__("Sign in again.", headers={"WWW-Authenticate": "Bearer"})


class PasswordReused(Refused):
    """The new password is the old one."""

    code = "password_reused"
    status = 400
    title = "The new password is the same as the old one."

    def __init__(self) -> None:
        fault = FieldError("new_password", self.code, "Choose a password that differs from the present one.")
        super().__init__("Choose another new password.", errors=[fault])


class LastAdmin(Refused):
    """Without this admin nobody could manage the instance."""

    code = "last_admin"
    status = 409
    title = "This is the last active admin."


@dataclass(frozen=True, slots=True)
class Grant:
    """A pair of tokens. `expires_in` is the access token's life in seconds."""

    access: str
    refresh: str
    expires_in: int


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
            record(actor and _as(actor, user), "user.created", user, at=now, changes=changes, write=insertion(user))
    except IntegrityError:
        _refuse_taken(user)  # someone else was quicker
        raise
    return user


def check_credentials(*, actor: Actor, login: str, password: str, admins_only: bool = False, now: datetime) -> User:
    """The active user of this name or address, whose password this is.

    Raises InvalidCredentials (401), after the same work whether or not there is such a user.
    Records auth.login_failed, which stays although this raises.
    """
    user = queries.user_by_login(login)
    is_right = check_password(password, user.password if user else NOBODYS_HASH)
    if user is not None and is_right and user.is_active and (user.is_staff or not admins_only):
        return user
    # The name is not logged: people type passwords where names belong.
    target: Target = user or Nobody("user")
    with transaction.atomic():
        record(actor, "auth.login_failed", target, at=now)
    raise InvalidCredentials


def sign_in(*, actor: Actor, login: str, password: str, now: datetime) -> Grant:
    """Begin a session. login: a name or an e-mail address. Raises InvalidCredentials (401).

    Records auth.login_succeeded or auth.login_failed.
    """
    user = check_credentials(actor=actor, login=login, password=password, now=now)
    session = Session(
        id=new_id(),
        user=user,
        created_at=now,
        last_used_at=now,
        expires_at=now + tokens.refresh_lifetime(),
        ip=actor.origin.ip,
        user_agent=actor.origin.user_agent,
        end_reason="",
    )
    refresh = tokens.new_refresh()
    changes = {"session": [None, str(session.id)]}
    with transaction.atomic():
        if _has_changed(user, _lock(user.id)):
            raise InvalidCredentials
        who = _as(actor, user, session.id)
        record(who, "auth.login_succeeded", user, at=now, changes=changes, write=insertion(session))
        insertion(_refresh_token(session, refresh, now)).run()
    return _grant(session, refresh, now)


def sign_in_to_admin(*, actor: Actor, login: str, password: str, now: datetime) -> User:
    """Let an admin into the admin's pages, which keep a session of their own. Raises InvalidCredentials (401).

    Records auth.login_succeeded or auth.login_failed.
    """
    user = check_credentials(actor=actor, login=login, password=password, admins_only=True, now=now)
    with transaction.atomic():
        record(_as(actor, user), "auth.login_succeeded", user, at=now)
    return user


def refresh(*, actor: Actor, token: str, now: datetime) -> Grant:
    """Exchange a refresh token for a new pair; the session then lives as long as the new one.

    Within REFRESH_GRACE_SECONDS the same successor is answered again while that is unused, for clients that lost
    the first answer. Any other second use ends the session (RFC 9700 section 4.14.2). Raises InvalidRefreshToken
    (401). Records auth.token_reuse_detected, which stays although this raises; an ordinary exchange, every ten
    minutes for each device, would only bury what people look for in the log.
    """
    found = queries.refresh_token(tokens.digest(token)) if tokens.is_refresh(token) else None
    if found is None or not found.session.is_live(now) or not found.session.user.is_active:
        raise InvalidRefreshToken
    successor = tokens.next_refresh(token)
    if found.used_at is None and _rotate(found, successor, now):
        return _grant(found.session, successor, now)
    found.refresh_from_db(fields=["used_at"])
    if found.is_in_grace(timedelta(seconds=settings.REFRESH_GRACE_SECONDS), now):
        candidates = {tokens.digest(candidate): candidate for candidate in tokens.possible_successors(token)}
        if known := queries.unused_successor(found, list(candidates), now):
            return _grant(found.session, candidates[known], now)
    end_session(
        actor=actor, session=found.session, reason=EndReason.TOKEN_REUSED, action="auth.token_reuse_detected", now=now
    )
    raise InvalidRefreshToken


def sign_out(*, actor: Actor, token: str, now: datetime) -> None:
    """End the session of a refresh token, used or not. An unknown one is no error (RFC 7009 section 2.2).

    Records auth.logged_out.
    """
    found = queries.refresh_token(tokens.digest(token)) if tokens.is_refresh(token) else None
    if found is not None:
        session = found.session
        who = _as(actor, session.user, session.id)
        end_session(actor=who, session=session, reason=EndReason.SIGNED_OUT, action="auth.logged_out", now=now)


def end_session(
    *,
    actor: Actor,
    session: Session,
    reason: EndReason = EndReason.ENDED,
    action: str = "auth.session_ended",
    now: datetime,
) -> None:
    """End one session at once, with every token of it. Nothing happens when it is over. Records `action`."""
    with transaction.atomic():
        user = _lock(session.user_id)
        if queries.live_sessions(user.id, now).filter(pk=session.pk).exists():
            changes = {"session": [str(session.id), None]}
            write = update(session, {"ended_at": now, "end_reason": reason})
            record(actor, action, user, at=now, changes=changes, write=write)


def sign_out_everywhere(*, actor: Actor, now: datetime) -> None:
    """End every session of the actor, this one and those of the admin's pages included.

    Records auth.logged_out_everywhere.
    """
    with transaction.atomic():
        user = _lock(actor.user_id)
        ended = _end_sessions(user, EndReason.SIGNED_OUT_EVERYWHERE, now)
        changes = {"sessions": [ended, 0]}
        write = update(user, {"signed_out_at": now})
        record(actor, "auth.logged_out_everywhere", user, at=now, changes=changes, write=write)


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
        locked = _lock(user.id)
        if _has_changed(user, locked):
            raise _wrong_password()
        _end_sessions(locked, EndReason.PASSWORD_CHANGED, now, keep=actor.session_id)
        record(actor, "auth.password_changed", locked, at=now, write=update(locked, {"password": hashed}))
    return locked


def update_profile(*, actor: Actor, values: Mapping[str, Any], now: datetime) -> User:
    """Change these fields of the actor's profile. What is so already is no change. Records user.profile_updated."""
    with transaction.atomic():
        locked = _lock(actor.user_id)
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
            _end_sessions(changed, EndReason.DEACTIVATED, now)
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


def _wrong_password() -> ValidationFailed:
    return ValidationFailed(FieldError("current_password", "wrong_password", "This is not your password."))


def _has_changed(checked: User, locked: User) -> bool:
    """Whether the password that was checked before the row was locked counts no more."""
    return locked.password != checked.password or not locked.is_active


def _lock(user_id: UUID) -> User:
    return User.objects.select_for_update(no_key=True).get(pk=user_id)


def _as(actor: Actor, user: User, session_id: UUID | None = None) -> Actor:
    """The actor, now known to be this user."""
    return replace(actor, id=user.id, name=user.username, role=user.role, session_id=session_id, zone=user.time_zone)


def _end_sessions(user: User, reason: EndReason, now: datetime, keep: UUID | None = None) -> int:
    """End all live sessions but one; returns how many."""
    return queries.live_sessions(user.id, now).exclude(Q(pk=keep)).update(ended_at=now, end_reason=reason)


def _refresh_token(session: Session, token: str, now: datetime) -> RefreshToken:
    return RefreshToken(
        id=new_id(),
        session=session,
        token_hash=tokens.digest(token),
        created_at=now,
        expires_at=now + tokens.refresh_lifetime(),
    )


def _rotate(used: RefreshToken, successor: str, now: datetime) -> bool:
    """Use up a token and store its successor. False when another request has used it: one UPDATE decides."""
    with transaction.atomic():
        if not RefreshToken.objects.filter(pk=used.pk, used_at__isnull=True).update(used_at=now):
            return False
        lifetime = {"last_used_at": now, "expires_at": now + tokens.refresh_lifetime()}
        if not Session.objects.filter(pk=used.session_id, ended_at__isnull=True).update(**lifetime):
            raise InvalidRefreshToken
        insertion(_refresh_token(used.session, successor, now)).run()
    return True


def _grant(session: Session, refresh: str, now: datetime) -> Grant:
    access = tokens.mint_access(session.user_id, session.id, now)
    return Grant(access, refresh, int(tokens.access_lifetime().total_seconds()))


KEEP_SESSIONS = timedelta(days=30)
"""For how long a session that is over stays on record."""


@transaction.atomic
def purge_sessions(  # allow: silent_action because the end of each session is recorded, and its row is of no more use
    *, now: datetime, limit: int = 1000
) -> int:
    """Remove refresh tokens that have run out, and sessions that ended or ran out 30 days ago.

    At most `limit` of each; returns how many of both.
    """
    spent = list(RefreshToken.objects.filter(expires_at__lt=now).values_list("pk", flat=True)[:limit])
    RefreshToken.objects.filter(pk__in=spent).delete()
    gone = list(Session.objects.filter(expires_at__lt=now - KEEP_SESSIONS).values_list("pk", flat=True)[:limit])
    Session.objects.filter(pk__in=gone).delete()
    return len(spent) + len(gone)
