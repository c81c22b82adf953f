"""Rate limits: count requests, codes and guesses, and refuse those beyond a limit (decision 0010)."""

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
from duely.guard.rules import FetchMetadata, LimitHit, LimitStatus, Rate, Scope, counted_address, is_foreign_link
from duely.guard.stores import Database, LimitedKey, Memory, SpendResult, Unreachable

EXACT = frozenset({Scope.OTP, Scope.RESET, Scope.LOGIN})
"""Limits that protect secrets. Without Redis the database counts them, so that they hold over all processes."""
MAX_REMEMBERED_KEYS = 100_000
"""Callers whose refusal one process remembers."""
MAX_PENDING_HITS = 1_000
"""Limit hits that wait to be written to the change log. More are dropped, with a line in the process's log."""


def limit_address(request: HttpRequest, scope: str = Scope.ANONYMOUS) -> None:
    """Count a request without a valid token, by its address. Raises RateLimited (429)."""
    origin = request.origin  # type: ignore[attr-defined]  # set by the guard
    caller = counted_address(origin.ip)
    # A page that opens links must not use up the requests with which its visitors sign up (decision 0041).
    if is_foreign_link(request.method or "", fetch_metadata(request)):
        caller = f"link:{caller}"
    _limit(request, Scope(scope), caller)


def fetch_metadata(request: HttpRequest) -> FetchMetadata:
    """What the browser says about the page that sends this request."""
    headers = request.META
    return FetchMetadata(
        headers.get("HTTP_SEC_FETCH_SITE"), headers.get("HTTP_SEC_FETCH_MODE"), headers.get("HTTP_SEC_FETCH_DEST")
    )


def limit_user(request: HttpRequest, user_id: UUID) -> None:
    """Count a request with a valid access token. Raises RateLimited (429)."""
    _limit(request, Scope.USER, str(user_id), user_id)


def limit_token(request: HttpRequest, token: str) -> None:
    """Count a request with a refresh token whose tag is valid, before any query. Raises RateLimited (429)."""
    _limit(request, Scope.USER, f"token:{token}")


def limit_refresh(user_id: UUID, origin: Origin) -> None:
    """Count the exchange of a refresh token as a request of its user. Raises RateLimited (429)."""
    status = spend(Scope.USER, str(user_id), user_id=user_id, origin=origin)
    if status is not None and not status.is_allowed:
        raise RateLimited(status.retry_after)


def limit_codes(purpose: str, key: str, origin: Origin, rate: Rate) -> None:
    """Count a request to mail a code to an address. Raises RateLimited (429).

    Each requester has a counter for each address and purpose, so a stranger cannot use up the owner's codes
    (decision 0026).
    """
    status = spend(Scope.OTP, f"codes:{purpose}:{counted_address(origin.ip)}:{key}", origin=origin, rate=rate)
    if status is not None and not status.is_allowed:
        raise RateLimited(status.retry_after)


def guess_wait(keys: Sequence[LimitedKey]) -> float:
    """Seconds until the next guess at a secret is allowed: all keys must be below their limits. 0 means now."""
    if setting("RATE_LIMITS")[Scope.LOGIN] is None:
        return 0.0
    hashed_keys = _hashed(keys)
    # A refusal that this process remembers costs no query (decision 0010).
    waits = [_remaining_wait(key) for key, _ in hashed_keys]
    if any(waits):
        return max(waits)
    for (key, _), result in zip(hashed_keys, _peek(hashed_keys), strict=True):
        if not result.is_allowed:
            _remember(_refused_until, key, result.wait)
            waits.append(result.wait)
    return max(waits, default=0.0)


def note_wrong_guess(keys: Sequence[LimitedKey]) -> None:
    """Count a wrong guess for each key."""
    if setting("RATE_LIMITS")[Scope.LOGIN] is None:
        return
    with transaction.atomic():
        # Sorted, so that concurrent transactions lock the keys in the same order and cannot deadlock.
        for key, rate in sorted(_hashed(keys), key=lambda limited_key: limited_key[0]):
            _spend(Scope.LOGIN, key, rate)


def note_refused_guess(caller: str, rate: Rate, user_id: UUID | None, origin: Origin) -> None:
    """Record a refused guess, once within the window: in the log of `user_id`, or in the system's log with None."""
    if _is_first_refusal(f"guess:{caller}", rate):
        _collect(LimitHit(Scope.LOGIN, rate, user_id, origin, clock.now()))


def _hashed(keys: Sequence[LimitedKey]) -> list[LimitedKey]:
    return [(hashlib.sha256(f"guess:{key}:{rate.seconds}".encode()).hexdigest(), rate) for key, rate in keys]


def _peek(keys: Sequence[LimitedKey]) -> list[SpendResult]:
    redis = _redis()
    if redis is not None:
        try:
            return redis.peek(keys)
        except Unreachable:
            pass
    return _database.peek(keys)


def spend(
    scope: Scope, caller: str, *, user_id: UUID | None = None, origin: Origin | None = None, rate: Rate | None = None
) -> LimitStatus | None:
    """Count one request, code or guess of a caller. Returns None if the scope has no limit.

    The first refusal within a window is recorded, soon after, by `duely.guard.watch`: in the log of `user_id`, or in
    the system's log with None, with the address of `origin`. `caller` is not recorded, since it may be an e-mail
    address. rate: replaces the rate of the scope.
    """
    rate = rate or setting("RATE_LIMITS")[scope]
    if rate is None:
        return None
    key = hashlib.sha256(f"{scope}:{caller}".encode()).hexdigest()
    # A refusal that this process remembers costs neither a query nor a round trip (decision 0010).
    remaining_wait = _remaining_wait(key)
    result = SpendResult(False, 0, remaining_wait) if remaining_wait else _spend(scope, key, rate)
    if not result.is_allowed:
        _remember(_refused_until, key, result.wait)
        if _is_first_refusal(key, rate):
            _collect(LimitHit(scope, rate, user_id, origin or Origin(), clock.now()))
    return LimitStatus(scope, rate, result.is_allowed, max(result.remaining, 0), result.wait)


def _limit(request: HttpRequest, scope: Scope, caller: str, user_id: UUID | None = None) -> None:
    origin: Origin = request.origin  # type: ignore[attr-defined]  # set by the guard
    status = spend(scope, caller, user_id=user_id, origin=origin)
    if status is None:
        return
    request.limit_status = status  # type: ignore[attr-defined]  # http/pipeline.py makes headers of it
    if not status.is_allowed:
        raise RateLimited(status.retry_after)


def _spend(scope: Scope, key: str, rate: Rate) -> SpendResult:
    redis = _redis()
    if redis is not None:
        try:
            return redis.spend(key, rate)
        except Unreachable:
            pass
    return (_database if scope in EXACT else _memory).spend(key, rate)


_memory = Memory()
_database = Database()
_refused_until: dict[str, float] = {}
"""For each refused key, the monotonic time until which no store needs to be asked."""
_recorded_until: dict[str, float] = {}
"""For each refused key, the monotonic time until which further refusals are not recorded."""
_hits: deque[LimitHit] = deque()


@lru_cache(maxsize=1)
def _redis() -> "stores.Redis | None":
    return stores.shared()


def _remaining_wait(key: str) -> float:
    """Seconds until a remembered refusal of this key ends; 0 if there is none."""
    return max(_refused_until.get(key, 0.0) - time.monotonic(), 0.0)


def _is_first_refusal(key: str, rate: Rate) -> bool:
    """Whether no refusal of this caller has been recorded within the window. Remembers this one."""
    if _recorded_until.get(key, 0.0) > time.monotonic():
        return False
    _remember(_recorded_until, key, rate.seconds)
    return True


def _remember(times: dict[str, float], key: str, seconds: float) -> None:
    # Emptied when full: what is lost is only speed, and one entry too many in the log.
    if len(times) >= MAX_REMEMBERED_KEYS and key not in times:
        times.clear()
    times[key] = time.monotonic() + seconds


def _collect(hit: LimitHit) -> None:
    if len(_hits) < MAX_PENDING_HITS:
        _hits.append(hit)
    else:
        stores.log.warning("a reached limit is not on record, too many wait", scope=hit.scope, ip=hit.origin.ip)


def next_hits(limit: int) -> list[LimitHit]:
    """The oldest hits to record, at most `limit`. They stay the next ones until `mark_recorded` is called."""
    return list(islice(_hits, limit))


def mark_recorded(count: int) -> None:
    """Remove the oldest `count` hits: they are recorded."""
    for _ in range(count):
        _hits.popleft()


def reset() -> None:
    """Return this process to the state after a start. For tests."""
    _refused_until.clear()
    _recorded_until.clear()
    _hits.clear()
    _memory.clear()
    _redis.cache_clear()
