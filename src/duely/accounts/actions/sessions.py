"""Signing in and out, and the sessions between."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from duely.accounts import password_checks, queries, steps, tokens
from duely.accounts.actions.emails import request_verification
from duely.accounts.hashers import NOBODYS_HASH
from duely.accounts.models import Code, EndReason, KnownAddress, RefreshToken, Session, SignUp, User
from duely.accounts.rules import MAX_SESSIONS
from duely.activity.actions import Nobody, Target, record
from duely.core.actor import Actor
from duely.core.errors import RateLimited, Refused
from duely.core.ids import new_id
from duely.database.statements import insert_statement, update_statement
from duely.guard.limits import limit_refresh

PASSWORD = "password"  # noqa: S105 - the way of signing in, in the change log


class InvalidCredentials(Refused):
    """The account is unknown or inactive, or the password is wrong. The answer does not say which."""

    code = "invalid_credentials"
    status = 401
    looks_like_attack = True
    title = "The user name, the e-mail address or the password is wrong."

    def __init__(self) -> None:
        super().__init__("Check them and try again.", headers={"WWW-Authenticate": "Bearer"})


class InvalidRefreshToken(Refused):
    """The refresh token is unknown, used or expired, or its session has ended."""

    code = "invalid_refresh_token"
    status = 401
    title = "The refresh token is not valid."

    def __init__(self, *, is_unknown: bool = False) -> None:
        super().__init__("Sign in again.", headers={"WWW-Authenticate": "Bearer"})
        self.looks_like_attack = is_unknown


@dataclass(frozen=True, slots=True)
class Grant:
    """A pair of tokens. `expires_in` is the access token's life in seconds."""

    access: str
    refresh: str
    expires_in: int


class EmailNotVerified(Refused):
    """This instance requires a verified e-mail address for sign-in."""

    code = "email_not_verified"
    status = 403
    title = "The e-mail address is not verified."

    def __init__(self, limited: RateLimited | None = None) -> None:
        """limited: why no link was sent now."""
        if limited is None:
            text = "Follow the link in the e-mail that was just sent to you, then sign in again."
        else:
            text = f"Follow the link in the e-mail that was sent to you before, then sign in again. {limited.detail}"
        super().__init__(text)


def check_credentials(*, actor: Actor, login: str, password: str, admins_only: bool = False, now: datetime) -> User:
    """The active user of this name or address, whose password this is.

    Raises InvalidCredentials (401), after the same work whether or not there is such a user; RateLimited (429) after
    too many wrong passwords; EmailNotVerified (403), and sends a new link, where REQUIRE_EMAIL_VERIFICATION asks for
    it.
    Records auth.login_failed, which stays although this raises.
    """
    user = queries.user_by_login(login)
    encoded = user.password if user else NOBODYS_HASH
    account = f"login {queries.login_key(login)}"
    is_right = password_checks.is_right(password, encoded, account=account, actor=actor, user=user)
    if user is not None and is_right and user.is_active and (user.is_staff or not admins_only):
        if user.email_verified or not settings.REQUIRE_EMAIL_VERIFICATION:
            return user
        try:
            request_verification(actor=steps.acting_as(actor, user), user=user, now=now)
        except RateLimited as limited:
            raise EmailNotVerified(limited) from None
        raise EmailNotVerified
    # The name is not logged: people type passwords where names belong.
    target: Target = user or Nobody("user")
    with transaction.atomic():
        record(actor, "auth.login_failed", target, at=now, changes={"method": [None, PASSWORD]})
    raise InvalidCredentials


def sign_in(*, actor: Actor, login: str, password: str, now: datetime) -> Grant:
    """Begin a session with a password. login: a name or an e-mail address.

    Raises InvalidCredentials (401), EmailNotVerified (403). Records auth.login_succeeded or auth.login_failed.
    """
    user = check_credentials(actor=actor, login=login, password=password, now=now)
    with transaction.atomic():
        if steps.has_changed(user, steps.lock(user.id)):
            raise InvalidCredentials
        return begin_session(actor=actor, user=user, method=PASSWORD, now=now)


def begin_session(*, actor: Actor, user: User, method: str, now: datetime) -> Grant:
    """A new session of a user who is locked in the caller's transaction. Beyond fifty the one that was not used for
    longest ends. Records auth.login_succeeded and auth.session_ended.
    """
    _end_surplus(actor, user, now)
    session = Session(
        id=new_id(),
        user=user,
        created_at=now,
        last_used_at=now,
        expires_at=tokens.session_end(now, now),
        ip=actor.origin.ip,
        user_agent=actor.origin.user_agent,
        end_reason="",
    )
    token = tokens.new_refresh()
    changes = {"session": [None, str(session.id)], "method": [None, method]}
    who = steps.acting_as(actor, user, session.id)
    record(who, "auth.login_succeeded", user, at=now, changes=changes, write=insert_statement(session))
    insert_statement(_refresh_token(session, token, now)).run()
    steps.remember_address(user, actor.origin.ip, now)
    return _grant(session, token, now)


def _end_surplus(actor: Actor, user: User, now: datetime) -> None:
    surplus = list(queries.surplus_sessions(user.id, now).values_list("pk", flat=True))
    if surplus:
        Session.objects.filter(pk__in=surplus).update(ended_at=now, end_reason=EndReason.TOO_MANY)
    # More than one only where there were more before there was a limit.
    for session_id in surplus[:MAX_SESSIONS]:
        record(actor, "auth.session_ended", user, at=now, changes={"session": [str(session_id), None]})


def sign_in_to_admin(*, actor: Actor, login: str, password: str, now: datetime) -> User:
    """Let an admin into the admin's pages, which keep a session of their own. Raises InvalidCredentials (401).

    Records auth.login_succeeded or auth.login_failed.
    """
    user = check_credentials(actor=actor, login=login, password=password, admins_only=True, now=now)
    with transaction.atomic():
        changes = {"method": [None, PASSWORD]}
        record(steps.acting_as(actor, user), "auth.login_succeeded", user, at=now, changes=changes)
        steps.remember_address(user, actor.origin.ip, now)
    return user


def refresh(*, actor: Actor, token: str, now: datetime) -> Grant:
    """Exchange a refresh token for a new pair; the session then lives as long as the new one, 90 days in all at most.

    Within REFRESH_GRACE_SECONDS the same successor is answered again while that is unused, for clients that lost
    the first answer. Any other second use ends the session (RFC 9700 section 4.14.2). Raises InvalidRefreshToken
    (401), RateLimited (429) beyond the user's limit. Records auth.token_reuse_detected, which stays although this
    raises; an ordinary exchange, every ten minutes for each device, would only bury what people look for in the log.
    """
    found = queries.refresh_token(tokens.digest(token)) if tokens.is_refresh(token) else None
    if found is None:
        raise InvalidRefreshToken(is_unknown=not tokens.is_genuine_refresh(token))
    limit_refresh(found.session.user_id, actor.origin)
    if not found.session.is_live(now) or not found.session.user.is_active:
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
        who = steps.acting_as(actor, session.user, session.id)
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
        user = steps.lock(session.user_id)
        if queries.live_sessions(user.id, now).filter(pk=session.pk).exists():
            changes = {"session": [str(session.id), None]}
            write = update_statement(session, {"ended_at": now, "end_reason": reason})
            record(actor, action, user, at=now, changes=changes, write=write)


def sign_out_everywhere(*, actor: Actor, now: datetime) -> None:
    """End every session of the actor, this one and those of the admin's pages included, with every code and link.

    Records auth.logged_out_everywhere.
    """
    end_sessions_of(actor=actor, user_id=actor.user_id, now=now)


def end_sessions_of(*, actor: Actor, user_id: UUID, now: datetime) -> None:
    """End every session of a user, with every code and link that waits. Records auth.logged_out_everywhere."""
    with transaction.atomic():
        user = steps.lock(user_id)
        write, ended = steps.end_access(user, {}, EndReason.SIGNED_OUT_EVERYWHERE, now)
        changes = {"sessions": [ended, 0]}
        record(actor, "auth.logged_out_everywhere", user, at=now, changes=changes, write=write)


KEEP_SESSIONS = timedelta(days=30)
"""For how long a session that is over stays on record."""
KEEP_ADDRESSES = timedelta(days=90)
"""For how long an address counts as known after the last sign-in from there."""
KEEP_CODES = timedelta(days=2)
"""For how long codes that work no more count towards the limits of a day, and a little longer."""


@transaction.atomic
def purge_sessions(  # allow: silent_action because what ended is recorded, and its row is of no more use
    *, now: datetime, limit: int = 1000
) -> int:
    """Remove refresh tokens and sign-ups that have run out, codes of two days ago, sessions of 30 days ago, known
    addresses of 90 days ago and those beyond the latest fifty of a user.

    At most `limit` of each; returns how many in all.
    """
    spent = list(RefreshToken.objects.filter(expires_at__lt=now).values_list("pk", flat=True)[:limit])
    RefreshToken.objects.filter(pk__in=spent).delete()
    gone = list(Session.objects.filter(expires_at__lt=now - KEEP_SESSIONS).values_list("pk", flat=True)[:limit])
    Session.objects.filter(pk__in=gone).delete()
    unused = list(KnownAddress.objects.filter(seen_at__lt=now - KEEP_ADDRESSES).values_list("pk", flat=True)[:limit])
    old = list(Code.objects.filter(expires_at__lt=now - KEEP_CODES).values_list("pk", flat=True)[:limit])
    Code.objects.filter(pk__in=old).delete()
    unused += queries.surplus_addresses(limit)
    KnownAddress.objects.filter(pk__in=unused).delete()
    lapsed = list(SignUp.objects.filter(expires_at__lt=now).values_list("pk", flat=True)[:limit])
    SignUp.objects.filter(pk__in=lapsed).delete()
    return len(spent) + len(gone) + len(unused) + len(old) + len(lapsed)


def _refresh_token(session: Session, token: str, now: datetime) -> RefreshToken:
    return RefreshToken(
        id=new_id(),
        session=session,
        token_hash=tokens.digest(token),
        created_at=now,
        expires_at=tokens.session_end(session.created_at, now),
    )


def _rotate(used: RefreshToken, successor: str, now: datetime) -> bool:
    """Use up a token and store its successor. False when another request has used it: one UPDATE decides."""
    with transaction.atomic():
        if not RefreshToken.objects.filter(pk=used.pk, used_at__isnull=True).update(used_at=now):
            return False
        lifetime = {"last_used_at": now, "expires_at": tokens.session_end(used.session.created_at, now)}
        if not Session.objects.filter(pk=used.session_id, ended_at__isnull=True).update(**lifetime):
            raise InvalidRefreshToken
        insert_statement(_refresh_token(used.session, successor, now)).run()
    return True


def _grant(session: Session, refresh: str, now: datetime) -> Grant:
    access = tokens.mint_access(session.user_id, session.id, now)
    return Grant(access, refresh, int(tokens.access_lifetime().total_seconds()))
