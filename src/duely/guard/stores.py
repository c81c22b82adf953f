"""Stores that count requests in a sliding log of accepted requests, exact also under concurrency (decision 0010).

`spend(key, rate)` of each store accepts and counts a request if fewer than `rate.limit` requests were accepted within
the last `rate.seconds`. `peek`, which the stores of exact limits have, returns the same for several keys without
counting anything.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from duely.guard.models import Hit
from duely.guard.rules import Rate

log = structlog.get_logger("duely.guard")

MAX_KEYS = 100_000
"""Callers that one process remembers. Beyond that the least recently seen ones are forgotten."""
REDIS_TIMEOUT_SECONDS = 0.05
BREAK_SECONDS = 5.0
"""How long Redis is not asked after a failure, so that an outage does not delay every request (decision 0010)."""
KEEP_HITS = timedelta(days=1)


class SpendResult(NamedTuple):
    """A store's decision. `wait`: seconds until the oldest counted request leaves the window."""

    is_allowed: bool
    remaining: int
    wait: float


LimitedKey = tuple[str, Rate]
"""A key and the rate that limits it."""


class Unreachable(Exception):
    """The store has failed, now or within the last BREAK_SECONDS."""


class Memory:
    """Counts in the memory of this process. max_keys: callers to remember, by default MAX_KEYS."""

    def __init__(self, *, max_keys: int | None = None) -> None:
        self._max_keys = max_keys
        self._hits: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget everyone."""
        with self._lock:
            self._hits.clear()

    def forget(self, key: str) -> None:
        """Forget the requests of one key."""
        with self._lock:
            self._hits.pop(key, None)

    def spend(self, key: str, rate: Rate) -> SpendResult:
        """Accept and count a request, or refuse it."""
        now = time.monotonic()
        with self._lock:
            hits = self._hits.setdefault(key, deque())
            self._hits.move_to_end(key)
            while hits and hits[0] <= now - rate.seconds:
                hits.popleft()
            is_allowed = len(hits) < rate.limit
            if is_allowed:
                hits.append(now)
            if len(self._hits) > (self._max_keys or MAX_KEYS):
                self._hits.popitem(last=False)
            return SpendResult(is_allowed, rate.limit - len(hits), hits[0] + rate.seconds - now)


class Database:
    """Counts in the database, by its clock, for limits that hold over all processes and nodes."""

    @transaction.atomic
    def spend(self, key: str, rate: Rate) -> SpendResult:
        """Accept and count a request, or refuse it."""
        count, insert = _STATEMENTS[connection.vendor]
        with connection.cursor() as cursor:
            # Count and insert must be one step. SQLite has one writer at a time and needs no lock.
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
            cursor.execute(count, [key, f"-{rate.seconds} seconds"])
            accepted, oldest = cursor.fetchone()
            is_allowed = accepted < rate.limit
            if is_allowed:
                cursor.execute(insert, [key])
        return SpendResult(is_allowed, rate.limit - accepted - int(is_allowed), float(oldest or 0) + rate.seconds)

    def peek(self, keys: Sequence[LimitedKey]) -> list[SpendResult]:
        """What `spend` would decide for each key, in one statement."""
        count, _ = _STATEMENTS[connection.vendor]
        # Numbered, because SQL does not promise an order of the rows of a union.
        numbered = [count.replace("SELECT", f"SELECT {number},", 1) for number in range(len(keys))]
        params = [param for key, rate in keys for param in (key, f"-{rate.seconds} seconds")]
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(numbered), params)
            rows = sorted(cursor.fetchall())
        results = []
        for (_, accepted, oldest), (_, rate) in zip(rows, keys, strict=True):
            wait = float(oldest or 0) + rate.seconds if accepted else 0.0
            results.append(SpendResult(accepted < rate.limit, rate.limit - accepted, wait))
        return results


# `min(at) - now` is negative seconds, since the oldest request in the window is in the past.
_COUNT_POSTGRES = """
SELECT count(*), extract(epoch FROM min(at) - statement_timestamp()) FROM guard_hit
WHERE key = %s AND at > statement_timestamp() + %s::interval
"""
_COUNT_SQLITE = """
SELECT count(*), (julianday(min(at)) - julianday('now')) * 86400 FROM guard_hit
WHERE key = %s AND at > strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s)
"""
_STATEMENTS = {
    "postgresql": (_COUNT_POSTGRES, "INSERT INTO guard_hit (key, at) VALUES (%s, statement_timestamp())"),
    "sqlite": (
        _COUNT_SQLITE,
        "INSERT INTO guard_hit (key, at) VALUES (%s, strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now'))",
    ),
}


def purge_hits(*, limit: int = 1000) -> int:
    """Delete at most `limit` requests that no limit counts any more. Returns their number."""
    ids = list(Hit.objects.filter(at__lt=Now() - KEEP_HITS).values_list("pk", flat=True)[:limit])
    return Hit.objects.filter(pk__in=ids).delete()[0] if ids else 0


_SPEND = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = ARGV[2] * 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local accepted = redis.call('ZCARD', KEYS[1])
local allowed = 0
if accepted < tonumber(ARGV[1]) then
  allowed = 1
  accepted = accepted + 1
  local number = redis.call('INCR', KEYS[1] .. ':n')
  redis.call('ZADD', KEYS[1], now, number)
  redis.call('PEXPIRE', KEYS[1], ARGV[2] * 1000)
  redis.call('PEXPIRE', KEYS[1] .. ':n', ARGV[2] * 1000)
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {allowed, ARGV[1] - accepted, tostring(first + window - now)}
"""


_PEEK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = ARGV[2] * 1000000
local accepted = redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now - window), '+inf')
if accepted == 0 then return {accepted, '0'} end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now - window), '+inf',
  'WITHSCORES', 'LIMIT', 0, 1)[2]
return {accepted, tostring(first + window - now)}
"""


class Redis:
    """Counts in Redis, by its clock. A Lua script counts and decides in one round trip, so it is atomic."""

    def __init__(self, url: str) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._error = redis.RedisError
        self._broken_until = 0.0
        # No retries: a request waits at most one timeout, then the limit is counted elsewhere.
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._spend_script: Any = self._client.register_script(_SPEND)
        self._peek_script: Any = self._client.register_script(_PEEK)

    def answers(self) -> bool:
        """Whether Redis answers a ping."""
        try:
            return bool(self._client.ping())
        except (self._error, OSError):
            return False

    def spend(self, key: str, rate: Rate) -> SpendResult:
        """Accept and count a request, or refuse it. Raises Unreachable."""
        allowed, remaining, wait = self._run(self._spend_script, key, rate)
        return SpendResult(bool(allowed), remaining, float(wait) / 1_000_000)

    def peek(self, keys: Sequence[LimitedKey]) -> list[SpendResult]:
        """What `spend` would decide for each key, in one round trip for each. Raises Unreachable."""
        results = []
        for key, rate in keys:
            accepted, wait = self._run(self._peek_script, key, rate)
            results.append(SpendResult(accepted < rate.limit, rate.limit - accepted, float(wait) / 1_000_000))
        return results

    def _run(self, script: Any, key: str, rate: Rate) -> Any:
        if time.monotonic() < self._broken_until:
            raise Unreachable
        try:
            # The braces keep a key and its counter on the same node of a Redis cluster.
            return script(keys=[f"duely:limit:{{{key}}}"], args=[rate.limit, rate.seconds])
        except (self._error, OSError) as error:
            self._broken_until = time.monotonic() + BREAK_SECONDS
            log.warning("redis does not answer, limits are counted without it", error=type(error).__name__)
            raise Unreachable from None


def shared() -> Redis | None:
    """The Redis store, or None without REDIS_URL."""
    return Redis(settings.REDIS_URL) if settings.REDIS_URL else None
