"""Access and refresh tokens: making them, reading them. Nothing here asks the database.

Access tokens are JWTs (RFC 7519, RFC 9068). Refresh tokens are random text; each has one successor, which follows
from it by HMAC. So within the grace period the same successor can be answered again although only hashes are stored.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import jwt
from django.conf import settings

from duely.core.errors import NotAuthenticated
from duely.core.keys import accepted_keys, current_key

ALGORITHM: Final = "HS256"
HEADER_TYPE: Final = "at+jwt"
ISSUER: Final = "duely"
AUDIENCE: Final = "duely-api"
ACCESS: Final = "access"
CLAIMS: Final = frozenset({"iss", "aud", "typ", "sub", "sid", "iat", "exp"})
LONGEST_TOKEN: Final = 1024
CLOCK_SKEW_SECONDS: Final = 30
REMEMBERED_TOKENS: Final = 4096

_JWT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_REFRESH = re.compile(r"dlr_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a genuine access token says. Instants are seconds since 1970."""

    user_id: UUID
    session_id: UUID
    issued_at: int
    expires_at: int


def access_lifetime() -> timedelta:
    """How long an access token works."""
    return timedelta(minutes=settings.ACCESS_TOKEN_MINUTES)


def refresh_lifetime() -> timedelta:
    """How long a refresh token works, and so a session that is not used."""
    return timedelta(days=settings.REFRESH_TOKEN_DAYS)


def mint_access(user_id: UUID, session_id: UUID, now: datetime) -> str:
    """A new access token of this user in this session."""
    key = current_key(ACCESS)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "typ": ACCESS,
        "sub": str(user_id),
        "sid": str(session_id),
        "iat": int(now.timestamp()),
        "exp": int((now + access_lifetime()).timestamp()),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id(key), "typ": HEADER_TYPE})


def read_access(token: str, now: datetime) -> AccessClaims:
    """The claims of an access token that `mint_access` made and that has not run out.

    Raises NotAuthenticated (401) for anything else, whatever is wrong with it.
    """
    if len(token) > LONGEST_TOKEN:
        raise NotAuthenticated
    claims = _verified(token, accepted_keys(ACCESS))
    seconds = now.timestamp()
    if claims.expires_at <= seconds or claims.issued_at > seconds + CLOCK_SKEW_SECONDS:
        raise NotAuthenticated
    return claims


def key_id(key: bytes) -> str:
    """The `kid` of a key: tells keys apart and nothing about them."""
    return hmac.digest(key, b"kid", hashlib.sha256)[:8].hex()


@lru_cache(maxsize=REMEMBERED_TOKENS)
def _verified(token: str, keys: tuple[bytes, ...]) -> AccessClaims:
    """The claims of a genuine token, run out or not. Refusals are not remembered: only tokens of ours take room."""
    parts = _JWT.fullmatch(token)
    if parts is None:
        raise NotAuthenticated
    header = _json_part(parts[1])
    _json_part(parts[2])
    key = {key_id(candidate): candidate for candidate in keys}.get(str(header.get("kid")))
    # Nothing but what we write ourselves: no `crit`, no `jku`, no other algorithm.
    if key is None or header != {"alg": ALGORITHM, "kid": key_id(key), "typ": HEADER_TYPE}:
        raise NotAuthenticated
    _bytes(parts[3])
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": sorted(CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except jwt.InvalidTokenError:
        raise NotAuthenticated from None
    if claims.keys() != CLAIMS or claims["typ"] != ACCESS or claims["aud"] != AUDIENCE:
        raise NotAuthenticated
    return AccessClaims(
        user_id=_uuid(claims["sub"]),
        session_id=_uuid(claims["sid"]),
        issued_at=_seconds(claims["iat"]),
        expires_at=_seconds(claims["exp"]),
    )


def _json_part(text: str) -> dict[str, Any]:
    """One part of a JWT as JSON, without repeated members (RFC 7519 section 4)."""
    try:
        part = json.loads(_bytes(text).decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise NotAuthenticated from None
    if not isinstance(part, dict):
        raise NotAuthenticated
    return part


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotAuthenticated
    return members


def _bytes(text: str) -> bytes:
    """The bytes of a base64url text. One text for the same bytes is right (RFC 4648 section 3.5)."""
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise NotAuthenticated from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text.encode():
        raise NotAuthenticated
    return decoded


def _uuid(claim: object) -> UUID:
    try:
        if isinstance(claim, str) and str(UUID(claim)) == claim:
            return UUID(claim)
    except ValueError:
        pass
    raise NotAuthenticated


def _seconds(claim: object) -> int:
    if isinstance(claim, int) and not isinstance(claim, bool):
        return claim
    raise NotAuthenticated


def new_refresh() -> str:
    """The first refresh token of a session: 256 random bits."""
    return "dlr_" + secrets.token_urlsafe(32)


def next_refresh(token: str) -> str:
    """The successor of a refresh token, by the current key."""
    return _successor(current_key("refresh"), token)


def possible_successors(token: str) -> list[str]:
    """The successors of a refresh token by every accepted key: a change of keys may lie between its two uses."""
    return [_successor(key, token) for key in accepted_keys("refresh")]


def _successor(key: bytes, token: str) -> str:
    digest = hmac.digest(key, token.encode(), hashlib.sha256)
    return "dlr_" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_refresh(token: str) -> bool:
    """Whether this looks like a refresh token of ours."""
    return bool(_REFRESH.fullmatch(token))


def digest(token: str) -> str:
    """What is stored of a refresh token. A plain hash is enough for 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()
