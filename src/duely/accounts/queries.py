"""Reads of users, sessions, refresh tokens and one-time codes."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import BooleanField, Count, ExpressionWrapper, Q, QuerySet, Sum

from duely.accounts.models import Code, KnownAddress, RefreshToken, Session, SignUp, User
from duely.accounts.rules import (
    MAX_ADDRESSES,
    MAX_SESSION_DAYS,
    MAX_SESSIONS,
    Purpose,
    Role,
    clean_username,
    email_key,
    fold,
)
from duely.activity.models import Change
from duely.activity.queries import log_of
from duely.core.actor import Actor
from duely.core.permissions import Permission
from duely.core.scopes import scope
from duely.database import compiled
from duely.database.compiled import within
from duely.database.statements import driver_values, this_connection

ADMINS = Q(role=Role.ADMIN.value, is_active=True)


class Caller(NamedTuple):
    """Who stands behind a session, and the last number in the log of what is theirs.

    seq: None while a job changes their things: what they see changes without a new number.
    """

    name: str
    role: str
    zone: str
    seq: int | None


# Runs once for every request, so its text is fixed and no model is built from its row.
_CALLER = """
SELECT u.username, u.role, u.time_zone, CASE WHEN c.background > 0 THEN NULL ELSE COALESCE(c.seq, 0) END
FROM accounts_session s
JOIN accounts_user u ON u.id = s.user_id
LEFT JOIN activity_counter c ON c.owner_id = u.id
WHERE s.id = %s AND s.user_id = %s AND s.ended_at IS NULL AND s.expires_at > %s AND u.is_active
"""


def caller(session_id: UUID, user_id: UUID, now: datetime) -> Caller | None:
    """The active user of a live session. None when either is not, or they do not belong together."""
    params = driver_values([(_KEY, session_id), (_KEY, user_id), (_END, now)], this_connection())
    rows = compiled.read_rows(_CALLER, params)
    return Caller._make(rows[0]) if rows else None


_KEY, _END = Session._meta.pk, Session._meta.get_field("expires_at")


def visible_users(actor: Actor) -> QuerySet[User]:
    """The users that this actor may see: oneself, or for admins everyone. Raises Forbidden (403)."""
    return within(User.objects.all(), scope(actor, Permission.USER_VIEW), column="pk")


def user_by_login(login: str) -> User | None:
    """The user of this name or e-mail address, in any case. What has an `@` is an address."""
    if "\x00" in login:
        return None
    if "@" in login:
        return user_by_email(email_key(login))
    return User.objects.filter(username_key=fold(clean_username(login))).first()


def login_key(login: str) -> str:
    """The form in which `user_by_login` compares what someone typed to sign in."""
    return email_key(login) if "@" in login else fold(clean_username(login))


def knows_address(user_id: UUID, network: str) -> bool:
    """Whether this user has signed in from there, in the form of `counted_address`."""
    return KnownAddress.objects.filter(user_id=user_id, network=network).exists()


def is_owners_place(email_key: str, network: str) -> bool:
    """Whether the owner of this address, who has verified it, has signed in from this network."""
    rows = KnownAddress.objects.filter(network=network, user__email_key=email_key)
    return rows.filter(user__email_verified=True, user__is_active=True).exists()


def surplus_addresses(limit: int) -> list[UUID]:
    """Ids of known addresses beyond the latest fifty of their user, at most `limit`."""
    many = KnownAddress.objects.values("user_id").annotate(number=Count("pk")).filter(number__gt=MAX_ADDRESSES)
    surplus: list[UUID] = []
    for user_id in many.values_list("user_id", flat=True)[:limit]:
        rows = KnownAddress.objects.filter(user_id=user_id).order_by("-seen_at", "-id")
        surplus += rows.values_list("pk", flat=True)[MAX_ADDRESSES : MAX_ADDRESSES + limit - len(surplus)]
        if len(surplus) >= limit:
            break
    return surplus


def user_by_id(user_id: UUID) -> User | None:
    """A user, for work in the background."""
    return User.objects.filter(pk=user_id).first()


def user_by_email(key: str) -> User | None:
    """The user with this address, in the form that `rules.email_key` makes."""
    return User.objects.filter(email_key=key).first()


def is_proven(address: str) -> bool:
    """Whether an active user has shown that they read the mail of this address."""
    return User.objects.filter(email_key=email_key(address), email_verified=True, is_active=True).exists()


def taken_fields(username_key: str, email_key: str, now: datetime) -> list[str]:
    """Which of these another account has already, or one that is waiting for its address to be verified."""
    others = User.objects.filter(Q(username_key=username_key) | Q(email_key=email_key))
    found = {key for keys in others.values_list("username_key", "email_key") for key in keys}
    if SignUp.objects.filter(username_key=username_key, expires_at__gt=now).exists():
        found.add(username_key)
    return [name for name, key in (("username", username_key), ("email", email_key)) if key in found]


def is_name_taken(username_key: str, email_key: str, now: datetime) -> bool:
    """Whether an account has this name, or a pending sign-up with another address."""
    if User.objects.filter(username_key=username_key).exists():
        return True
    pending = SignUp.objects.filter(username_key=username_key, expires_at__gt=now)
    return pending.exclude(email_key=email_key).exists()


def has_admin() -> bool:
    """Whether someone can manage this instance."""
    return User.objects.filter(ADMINS).exists()


def admin_by_id(user_id: UUID) -> User | None:
    """An active admin."""
    return User.objects.filter(ADMINS, pk=user_id).first()


def live_sessions(user_id: UUID, now: datetime) -> QuerySet[Session]:
    """Where this user is signed in."""
    oldest = now - timedelta(days=MAX_SESSION_DAYS)
    return Session.objects.filter(user_id=user_id, ended_at__isnull=True, expires_at__gt=now, created_at__gt=oldest)


def surplus_sessions(user_id: UUID, now: datetime) -> QuerySet[Session]:
    """The live sessions of this user that must end before another one begins: those not used for longest."""
    return live_sessions(user_id, now).order_by("-last_used_at", "-id")[MAX_SESSIONS - 1 :]


def own_sessions(actor: Actor, now: datetime) -> QuerySet[Any]:
    """Where the actor is signed in, with `current` on the session of this very request."""
    current = ExpressionWrapper(Q(pk=actor.session_id), output_field=BooleanField())
    return live_sessions(actor.user_id, now).annotate(current=current)


def refresh_token(token_hash: str) -> RefreshToken | None:
    """A refresh token with its session and user."""
    return RefreshToken.objects.select_related("session__user").filter(token_hash=token_hash).first()


def unused_successor(token: RefreshToken, hashes: list[str], now: datetime) -> str | None:
    """The one of these hashes that is this token's successor, if that has not been used."""
    chain = RefreshToken.objects.filter(session_id=token.session_id, token_hash__in=hashes)
    return chain.filter(used_at__isnull=True, expires_at__gt=now).values_list("token_hash", flat=True).first()


DAY = timedelta(days=1)


class Sent(NamedTuple):
    """How many mails with codes an address was sent within a day, and how often these were guessed wrong."""

    mails: int
    wrong: int


def sent_today(purpose: Purpose, key: str, now: datetime) -> Sent:
    """What was sent to this address within a day, of the codes of this purpose."""
    rows = Code.objects.filter(email_key=key, purpose=purpose.value, created_at__gt=now - DAY, user__isnull=True)
    return Sent(**rows.aggregate(mails=Sum("mails", default=0), wrong=Sum("tries", default=0)))


def live_codes(purpose: Purpose, key: str) -> QuerySet[Code]:
    """The codes of this purpose that nobody has used, of whoever reads the mail of this address; oldest first."""
    rows = Code.objects.filter(email_key=key, purpose=purpose.value, user__isnull=True, ended_at__isnull=True)
    return rows.order_by("pk")


def live_codes_of(user_id: UUID, email_keys: Collection[str], now: datetime) -> QuerySet[Code]:
    """Every code, link and token that a user can use: their own, and those sent to one of these addresses."""
    own, sent = Q(user_id=user_id), Q(user__isnull=True, email_key__in=email_keys)
    return Code.objects.filter(own | sent, ended_at__isnull=True, expires_at__gt=now)


def sign_ups_of(email_keys: Collection[str], now: datetime) -> QuerySet[SignUp]:
    """Sign-ups that wait until one of these addresses is verified."""
    return SignUp.objects.filter(email_key__in=email_keys, expires_at__gt=now)


def is_session_of(actor: Actor, user_id: UUID, now: datetime) -> bool:
    """Whether the actor's session is one of this user's, and goes on."""
    session_id = actor.session_id if actor.id == user_id else None
    return session_id is not None and live_sessions(user_id, now).filter(pk=session_id).exists()


def live_tokens(user_id: UUID, purpose: Purpose) -> QuerySet[Code]:
    """The token of this purpose that a user has not used yet."""
    return Code.objects.filter(user_id=user_id, purpose=purpose.value, ended_at__isnull=True)


def usable_code(code_id: UUID, now: datetime) -> Code | None:
    """A code that still works, with its user."""
    rows = Code.objects.select_related("user").filter(pk=code_id, ended_at__isnull=True, expires_at__gt=now)
    return rows.first()


def address_before(user: User, seq: int) -> tuple[str, bool]:
    """The address that a user had just before the change with this number in their log, and whether it was verified."""
    later = log_of(user.id).filter(seq__gte=seq, action="user.email_changed", target_id=user.id)
    first = later.order_by("seq").values_list("changes", flat=True).first()
    if first is None:
        return user.email, user.email_verified
    return str(first["email"][0]), bool(first["email_verified"][0])


def change(user_id: UUID, seq: int) -> Change | None:
    """One entry of a user's log."""
    return log_of(user_id).filter(seq=seq).first()


def is_repeated_later(user_id: UUID, seq: int) -> bool:
    """Whether the same happened to a user again after this entry of their log, at the same address."""
    entry = log_of(user_id).filter(seq=seq).values_list("action", flat=True)
    later = log_of(user_id).filter(target_id=user_id, seq__gt=seq)
    repeats = later.filter(action__in=[*entry, "user.email_changed"]).values_list("action", flat=True).distinct()
    return set(repeats) == {*entry} - {"user.email_changed"} != set()


def usable_sign_up(sign_up_id: UUID, now: datetime) -> SignUp | None:
    """An account that can still be made."""
    return SignUp.objects.filter(pk=sign_up_id, expires_at__gt=now).first()
