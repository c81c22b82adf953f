"""Who asks: the check of the access token that every request with one goes through."""

from datetime import datetime

from django.http import HttpRequest

from duely.accounts import queries, tokens
from duely.accounts.rules import Permission, allows
from duely.core import clock
from duely.core.actor import Actor
from duely.core.errors import NotAuthenticated
from duely.guard import limits


def authenticate(request: HttpRequest) -> Actor:
    """The caller, from `Authorization: Bearer <access token>` (RFC 6750 section 2.1).

    One statement reads session and user, so that an ended session, a deactivated user or a changed role
    shows at once, and not when the token runs out. Raises NotAuthenticated (401), the same for every reason, and
    RateLimited (429) before the database is asked.
    """
    now = clock.now()
    try:
        claims = _claims(request.META.get("HTTP_AUTHORIZATION", ""), now)
    except NotAuthenticated:
        limits.limit_address(request)
        raise
    limits.limit_user(request, claims.user_id)
    caller = queries.caller(claims.session_id, claims.user_id, now)
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
        sees_all=allows(caller.role, Permission.SEE_ALL),
    )


def _claims(authorization: str, now: datetime) -> tokens.AccessClaims:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated
    return tokens.read_access(token, now)
