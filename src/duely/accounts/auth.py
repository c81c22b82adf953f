"""Who asks: the checks of the tokens that requests carry."""

import re

from django.http import HttpRequest

from duely.accounts import queries, tokens
from duely.core import clock
from duely.core.actor import Actor
from duely.core.errors import AddressBanned, NotAuthenticated
from duely.guard import limits
from duely.guard.rules import Scope

BY_REFRESH_TOKEN = "refresh_token"  # noqa: S105
"""The limit of operations whose body holds a refresh token: `operation(limit=BY_REFRESH_TOKEN)`."""
MAX_REFRESH_BODY = 1024
_REFRESH_IN_BODY = re.compile(rb'"(dlr_[A-Za-z0-9_-]{43})"')


def authenticate(request: HttpRequest) -> Actor:
    """The caller, from `Authorization: Bearer <access token>` (RFC 6750 section 2.1; blanks as RFC 9110 11.4 has them).

    One statement reads session and user, so that an ended session, a deactivated user or a changed role
    shows at once, and not when the token runs out. Raises NotAuthenticated (401), the same for every reason, and
    RateLimited (429) before the database is asked. AddressBanned (403) without a genuine token from a banned address.
    """
    now = clock.now()
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    try:
        claims = _genuine_claims(authorization)
    except NotAuthenticated:
        _refuse_banned(request)
        request.looks_like_attack = bool(_bearer_token(authorization))  # type: ignore[attr-defined]  # the guard counts
        limits.limit_address(request)
        raise
    # Also with a token that has run out: of many people behind one address, none spends what others need to sign in.
    limits.limit_user(request, claims.user_id)
    caller = queries.caller(claims.session_id, claims.user_id, now) if claims.work_at(now) else None
    if caller is None:
        raise NotAuthenticated
    return Actor(
        id=claims.user_id,
        name=caller.name,
        role=caller.role,
        session_id=claims.session_id,
        zone=caller.zone,
        origin=request.origin,  # type: ignore[attr-defined]
        seq=caller.seq,
    )


def limit_public(request: HttpRequest, scope: str, *, is_readable: bool = True) -> None:
    """Count a request of a public operation: by its refresh token where that is genuine, else by its address.

    So many people behind one address refresh their tokens within one minute; `actions.refresh` also counts each of
    them as a request of its user. A body that is not readable holds no guess: it spends the limit of anonymous
    requests, whatever the scope. Raises RateLimited (429), AddressBanned (403).
    """
    if scope == BY_REFRESH_TOKEN:
        token = _genuine_refresh(request)
        if token is not None:
            limits.limit_token(request, token)
            return
    _refuse_banned(request)
    limits.limit_address(request, Scope.ANONYMOUS if scope == BY_REFRESH_TOKEN or not is_readable else scope)


def shows_token(request: HttpRequest) -> bool:
    """Whether a request carries a token that we signed: an access token that has not run out, or a refresh token.

    The check before the database is asked: the session behind the token may be over.
    """
    try:
        return _genuine_claims(request.META.get("HTTP_AUTHORIZATION", "")).work_at(clock.now())
    except NotAuthenticated:
        return _genuine_refresh(request) is not None


def _genuine_claims(authorization: str) -> tokens.AccessClaims:
    token = _bearer_token(authorization)
    if not token:
        raise NotAuthenticated
    return tokens.genuine_access(token)


def _bearer_token(authorization: str) -> str:
    """The token of this header, empty for another scheme: no password of Basic opens anything, so it is no guess."""
    scheme, _, token = authorization.partition(" ")
    return token.lstrip(" ") if scheme.lower() == "bearer" else ""


def _genuine_refresh(request: HttpRequest) -> str | None:
    """The genuine refresh token in the body of this request. Reads short bodies only."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit() and len(length) <= 4 and int(length) <= MAX_REFRESH_BODY):
        return None
    try:
        match = _REFRESH_IN_BODY.search(request.body)
    except OSError:  # the client has gone
        return None
    token = match[1].decode() if match else ""
    return token if tokens.is_genuine_refresh(token) else None


def _refuse_banned(request: HttpRequest) -> None:
    """Turn away a caller from a banned address who got here by a token that this operation does not check."""
    banned: AddressBanned | None = getattr(request, "banned", None)
    if banned is not None:
        raise banned
