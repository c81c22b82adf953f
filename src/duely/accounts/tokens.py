"""Access and refresh tokens: making them, reading them. Nothing here asks the database.

Access tokens are JWTs (RFC 7519, RFC 9068). A refresh token is 24 random bytes and a tag of 8 bytes, by which a genuine
one is told from a forged one without a query. Each has one successor, which follows from it by HMAC. So within the
grace period the same successor can be answered again although only hashes are stored.
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

from duely.accounts.rules import MAX_SESSION_DAYS
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
REFRESH: Final = "refresh"
REFRESH_BYTES: Final = 24
TAG_BYTES: Final = 8
"""Enough for a filter before the database: what counts is the hash that is stored."""

_JWT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_REFRESH = re.compile(r"dlr_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a genuine access token says. Instants are seconds since 1970."""

    user_id: UUID
    session_id: UUID
    issued_at: int
    expires_at: int

    def work_at(self, now: datetime) -> bool:
        """Whether the token has not run out, and was not made in the future."""
        seconds = now.timestamp()
        return self.expires_at > seconds and self.issued_at <= seconds + CLOCK_SKEW_SECONDS


def access_lifetime() -> timedelta:
    """How long an access token works."""
    return timedelta(minutes=settings.ACCESS_TOKEN_MINUTES)


def refresh_lifetime() -> timedelta:
    """How long a refresh token works, and so a session that is not used."""
    return timedelta(days=settings.REFRESH_TOKEN_DAYS)


def session_end(created_at: datetime, now: datetime) -> datetime:
    """When a session of that age ends unless it is used: its refresh token lives no longer."""
    return min(now + refresh_lifetime(), created_at + timedelta(days=MAX_SESSION_DAYS))


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


def genuine_access(token: str) -> AccessClaims:
    """The claims of an access token that `mint_access` made, also of one that has run out.

    Raises NotAuthenticated (401) for anything else, whatever is wrong with it.
    """
    if len(token) > LONGEST_TOKEN:
        raise NotAuthenticated
    return _verified(token, accepted_keys(ACCESS))


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
    """The first refresh token of a session: 192 random bits and a tag."""
    return _tagged(current_key(REFRESH), secrets.token_bytes(REFRESH_BYTES))


def next_refresh(token: str) -> str:
    """The successor of a refresh token, by the current key."""
    return _successor(current_key(REFRESH), token)


def possible_successors(token: str) -> list[str]:
    """The successors of a refresh token by every accepted key: a change of keys may lie between its two uses."""
    keys = accepted_keys(REFRESH)
    return [*(_successor(key, token) for key in keys), *(_untagged_successor(key, token) for key in keys)]


def is_genuine_refresh(token: str) -> bool:
    """Whether this is a refresh token of ours by its tag; it may be used or over. Tokens from before there were tags
    do not look genuine, although they work.
    """
    if not is_refresh(token):
        return False
    content = base64.urlsafe_b64decode(token.removeprefix("dlr_") + "=")
    body, tag = content[:REFRESH_BYTES], content[REFRESH_BYTES:]
    return any(hmac.compare_digest(tag, _tag(key, body)) for key in accepted_keys(REFRESH))


def _successor(key: bytes, token: str) -> str:
    return _tagged(key, hmac.digest(key, token.encode(), hashlib.sha256)[:REFRESH_BYTES])


def _untagged_successor(key: bytes, token: str) -> str:
    """As the version before tags made it: both may serve one session while nodes are upgraded one after the other."""
    digest = hmac.digest(key, token.encode(), hashlib.sha256)
    return "dlr_" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _tagged(key: bytes, body: bytes) -> str:
    return "dlr_" + base64.urlsafe_b64encode(body + _tag(key, body)).decode().rstrip("=")


def _tag(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, b"tag:" + body, hashlib.sha256)[:TAG_BYTES]


def is_refresh(token: str) -> bool:
    """Whether this looks like a refresh token of ours."""
    return bool(_REFRESH.fullmatch(token))


def digest(token: str) -> str:
    """What is stored of a refresh token. A plain hash is enough for 192 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()
