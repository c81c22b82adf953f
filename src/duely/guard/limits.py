"""Rate limits: who may come how often, and what they are told."""

import hashlib
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest

from duely.core import clock
from duely.core.actor import Origin
from duely.core.errors import RateLimited
from duely.core.settings import setting
from duely.guard import stores
from duely.guard.rules import LimitHit, Rate, Scope, Standing, counted_address
from duely.guard.stores import Database, Memory, Place, Spent, Unreachable

EXACT = frozenset({Scope.OTP, Scope.RESET, Scope.LOGIN})
"""Limits that guard secrets: they hold over all processes and nodes, also without Redis. The database counts then."""
MOST_BLOCKED = 100_000
MOST_HITS = 1_000
"""How many entries for the change log wait at once to be written; more are lost, and the log of the process says so."""


def limit_address(request: HttpRequest, scope: str = Scope.ANONYMOUS) -> None:
    """Count a request of someone who has not signed in, by their address. Raises RateLimited (429)."""
    origin = request.origin  # type: ignore[attr-defined]  # set by the guard
    _limit(request, Scope(scope), counted_address(origin.ip))


def limit_user(request: HttpRequest, user_id: UUID) -> None:
    """Count a request of someone who shows a genuine token. Raises RateLimited (429)."""
    _limit(request, Scope.USER, str(user_id), user_id)


def limit_token(request: HttpRequest, token: str) -> None:
    """Count a request that shows a genuine refresh token, before the database is asked. Raises RateLimited (429)."""
    _limit(request, Scope.USER, f"token:{token}")


def limit_refresh(user_id: UUID, origin: Origin) -> None:
    """Count the exchange of a refresh token as a request of its user. Raises RateLimited (429)."""
    standing = spend(Scope.USER, str(user_id), user_id=user_id, origin=origin)
    if standing is not None and not standing.is_allowed:
        raise RateLimited(standing.retry_after)


def limit_codes(purpose: str, key: str, origin: Origin, rate: Rate) -> None:
    """Count a code that a requester asks us to mail to this address. Raises RateLimited (429).

    Each requester has a count of their own, for each address and each purpose.
    """
    standing = spend(Scope.OTP, f"codes:{purpose}:{counted_address(origin.ip)}:{key}", origin=origin, rate=rate)
    if standing is not None and not standing.is_allowed:
        raise RateLimited(standing.retry_after)


def guess_wait(places: Sequence[Place]) -> float:
    """Seconds until a secret may be guessed at again, 0 for now: each of these keys must have room.

    A refusal that is known costs no query.
    """
    if setting("RATE_LIMITS")[Scope.LOGIN] is None:
        return 0.0
    hashed = _hashed(places)
    known = [spent.wait for key, _ in hashed if (spent := _blocked(key))]
    if known:
        return max(known)
    full = [(key, spent.wait) for (key, _), spent in zip(hashed, _look(hashed), strict=True) if not spent.is_allowed]
    for key, wait in full:
        _block(key, wait)
    return max((wait for _, wait in full), default=0.0)


def note_wrong_guess(places: Sequence[Place]) -> None:
    """Count a wrong guess in all of these places."""
    if setting("RATE_LIMITS")[Scope.LOGIN] is None:
        return
    with transaction.atomic():
        for key, rate in sorted(_hashed(places), key=lambda place: place[0]):  # locks in one order
            _spent(Scope.LOGIN, key, rate)


def note_refused_guess(who: str, rate: Rate, user_id: UUID | None, origin: Origin) -> None:
    """Put on record that a guess was refused, once within the window: in the log of `user_id`, else in the system's."""
    if _is_news(f"guess:{who}", rate):
        _collect(LimitHit(Scope.LOGIN, rate, user_id, origin, clock.now()))


def _hashed(places: Sequence[Place]) -> list[Place]:
    return [(hashlib.sha256(f"guess:{key}:{rate.seconds}".encode()).hexdigest(), rate) for key, rate in places]


def _look(places: Sequence[Place]) -> list[Spent]:
    redis = _redis()
    if redis is not None:
        try:
            return redis.look(places)
        except Unreachable:
            pass
    return _database.look(places)


def spend(
    scope: Scope, who: str, *, user_id: UUID | None = None, origin: Origin | None = None, rate: Rate | None = None
) -> Standing | None:
    """Count one of whatever this scope limits; None when nothing is limited. Asks no store once it has said no.

    The first time within a window that it says no is put on record, soon, by `duely.guard.watch`: in the log of
    `user_id`, else in the system's, with the address of `origin`. `who` itself may be an e-mail address and is not.
    rate: one that holds instead of the scope's own.
    """
    rate = rate or setting("RATE_LIMITS")[scope]
    if rate is None:
        return None
    key = hashlib.sha256(f"{scope}:{who}".encode()).hexdigest()
    spent = _blocked(key) or _spent(scope, key, rate)
    if not spent.is_allowed:
        _block(key, spent.wait)
        if _is_news(key, rate):
            _collect(LimitHit(scope, rate, user_id, origin or Origin(), clock.now()))
    return Standing(scope, rate, spent.is_allowed, max(spent.remaining, 0), spent.wait)


def _limit(request: HttpRequest, scope: Scope, who: str, user_id: UUID | None = None) -> None:
    origin: Origin = request.origin  # type: ignore[attr-defined]  # set by the guard
    standing = spend(scope, who, user_id=user_id, origin=origin)
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
_told: dict[str, float] = {}
_hits: deque[LimitHit] = deque()


@lru_cache(maxsize=1)
def _redis() -> "stores.Redis | None":
    return stores.shared()


def _blocked(key: str) -> Spent | None:
    wait = _refused.get(key, 0.0) - time.monotonic()
    return Spent(False, 0, wait) if wait > 0 else None


def _block(key: str, wait: float) -> None:
    """Remember a refusal for as long as it is sure to last: the next one costs nothing."""
    _remember(_refused, key, wait)


def _is_news(key: str, rate: Rate) -> bool:
    """Whether this caller was not refused yet within the window. One who goes on and on is one entry for each."""
    if _told.get(key, 0.0) > time.monotonic():
        return False
    _remember(_told, key, rate.seconds)
    return True


def _remember(until: dict[str, float], key: str, seconds: float) -> None:
    """For so long. A full memory is emptied, but not for one that is in it already."""
    if len(until) >= MOST_BLOCKED and key not in until:
        until.clear()
    until[key] = time.monotonic() + seconds


def _collect(hit: LimitHit) -> None:
    if len(_hits) < MOST_HITS:
        _hits.append(hit)
    else:
        stores.log.warning("a reached limit is not on record, too many wait", scope=hit.scope, ip=hit.origin.ip)


def next_hits(most: int) -> list[LimitHit]:
    """Those to be put on record next; they wait until `recorded` says that they are."""
    return list(islice(_hits, most))


def recorded(many: int) -> None:
    """So many of them are on record."""
    for _ in range(many):
        _hits.popleft()


def forget() -> None:
    """Begin anew in this process, as after a start. For tests."""
    _refused.clear()
    _told.clear()
    _hits.clear()
    _memory.clear()
    _redis.cache_clear()
