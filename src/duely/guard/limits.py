"""Rate limits: who may come how often, and what they are told."""

import hashlib
import time
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest

from duely.core.errors import RateLimited
from duely.guard import stores
from duely.guard.rules import Rate, Scope, Standing, counted_address
from duely.guard.stores import Database, Memory, Spent, Unreachable

EXACT = frozenset({Scope.OTP, Scope.LOGIN})
"""Limits that guard secrets: they hold over all processes and nodes, also without Redis. The database counts then."""
MOST_BLOCKED = 100_000


def limit_address(request: HttpRequest, scope: str = Scope.ANONYMOUS) -> None:
    """Count a request of someone who has not signed in, by their address. Raises RateLimited (429)."""
    origin = request.origin  # type: ignore[attr-defined]  # set by the guard
    _limit(request, Scope(scope), counted_address(origin.ip))


def limit_user(request: HttpRequest, user_id: object) -> None:
    """Count a request of someone who shows a genuine token. Raises RateLimited (429)."""
    _limit(request, Scope.USER, str(user_id))


def limit_mailbox(key: str) -> None:
    """Count a mail that someone asks us to send to this address, whoever asks. Raises RateLimited (429)."""
    standing = spend(Scope.OTP, f"mailbox:{key}")
    if standing is not None and not standing.is_allowed:
        raise RateLimited(standing.retry_after)


def spend(scope: Scope, who: str) -> Standing | None:
    """Count one of whatever this scope limits; None when nothing is limited. Asks no store once it has said no."""
    rate: Rate | None = settings.RATE_LIMITS[scope.value]
    if rate is None:
        return None
    key = hashlib.sha256(f"{scope}:{who}".encode()).hexdigest()
    spent = _blocked(key) or _spent(scope, key, rate)
    if not spent.is_allowed:
        _block(key, spent.wait)
    return Standing(scope, rate, spent.is_allowed, max(spent.remaining, 0), spent.wait)


def _limit(request: HttpRequest, scope: Scope, who: str) -> None:
    standing = spend(scope, who)
    if standing is None:
        return
    request.standing = standing  # type: ignore[attr-defined]  # the guard shows it on the answer
    if not standing.is_allowed:
        raise RateLimited(standing.retry_after)


def _spent(scope: Scope, key: str, rate: Rate) -> Spent:
    redis = _redis()
    if redis is not None:
        try:
            return redis.spend(key, rate)
        except Unreachable:
            pass
    return (_database if scope in EXACT else _memory).spend(key, rate)


_memory = Memory()
_database = Database()
_refused: dict[str, float] = {}


@lru_cache(maxsize=1)
def _redis() -> "stores.Redis | None":
    return stores.shared()


def _blocked(key: str) -> Spent | None:
    wait = _refused.get(key, 0.0) - time.monotonic()
    return Spent(False, 0, wait) if wait > 0 else None


def _block(key: str, wait: float) -> None:
    """Remember a refusal for as long as it is sure to last: the next one costs nothing."""
    if len(_refused) >= MOST_BLOCKED:
        _refused.clear()
    _refused[key] = time.monotonic() + wait


def forget() -> None:
    """Begin anew in this process, as after a start. For tests."""
    _refused.clear()
    _memory.clear()
    _redis.cache_clear()
