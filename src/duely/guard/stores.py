"""Where requests are counted: a sliding log of those that were let through, exact however many come at once.

`spend(key, rate)` of each store lets a request through, and notes it, when fewer than `rate.limit` were
let through within the last `rate.seconds`. It returns (let through, remaining, seconds to wait). `look`, which the
stores of exact limits have, returns the same for several keys without noting anything.
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

MOST_KEYS = 100_000
"""How many callers one process remembers; beyond that the ones not heard of for longest are forgotten."""
REDIS_TIMEOUT_SECONDS = 0.05
BREAK_SECONDS = 5.0
KEEP_HITS = timedelta(days=1)


class Spent(NamedTuple):
    """What a store answers."""

    is_allowed: bool
    remaining: int
    wait: float


Place = tuple[str, Rate]
"""A key and the rate that limits it."""


class Unreachable(Exception):
    """The store does not answer, or was not asked because it has not answered lately."""


class Memory:
    """In this process alone. most_keys: how many callers are remembered, MOST_KEYS unless told."""

    def __init__(self, *, most_keys: int | None = None) -> None:
        self._most_keys = most_keys
        self._hits: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget everyone."""
        with self._lock:
            self._hits.clear()

    def forget(self, key: str) -> None:
        """Begin anew with this one."""
        with self._lock:
            self._hits.pop(key, None)

    def spend(self, key: str, rate: Rate) -> Spent:
        """As the module says."""
        now = time.monotonic()
        with self._lock:
            hits = self._hits.setdefault(key, deque())
            self._hits.move_to_end(key)
            while hits and hits[0] <= now - rate.seconds:
                hits.popleft()
            is_allowed = len(hits) < rate.limit
            if is_allowed:
                hits.append(now)
            if len(self._hits) > (self._most_keys or MOST_KEYS):
                self._hits.popitem(last=False)
            return Spent(is_allowed, rate.limit - len(hits), hits[0] + rate.seconds - now)


class Database:
    """In the database, for limits that must hold over all processes and nodes. Goes by its clock."""

    @transaction.atomic
    def spend(self, key: str, rate: Rate) -> Spent:
        """As the module says."""
        count, insert = _STATEMENTS[connection.vendor]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
            cursor.execute(count, [key, f"-{rate.seconds} seconds"])
            many, oldest = cursor.fetchone()
            is_allowed = many < rate.limit
            if is_allowed:
                cursor.execute(insert, [key])
        return Spent(is_allowed, rate.limit - many - int(is_allowed), float(oldest or 0) + rate.seconds)

    def look(self, places: Sequence[Place]) -> list[Spent]:
        """As the module says, in one statement."""
        count, _ = _STATEMENTS[connection.vendor]
        # Numbered, since nothing promises the order of the rows of a union.
        numbered = [count.replace("SELECT", f"SELECT {number},", 1) for number in range(len(places))]
        params = [param for key, rate in places for param in (key, f"-{rate.seconds} seconds")]
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(numbered), params)
            rows = sorted(cursor.fetchall())
        return [
            Spent(many < rate.limit, rate.limit - many, float(oldest or 0) + rate.seconds if many else 0.0)
            for (_, many, oldest), (_, rate) in zip(rows, places, strict=True)
        ]


# The seconds from now to the first hit in the window are negative: it was.
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
    """Forget what no limit looks at any more; returns how much, at most `limit`."""
    old = list(Hit.objects.filter(at__lt=Now() - KEEP_HITS).values_list("pk", flat=True)[:limit])
    return Hit.objects.filter(pk__in=old).delete()[0] if old else 0


_SPEND = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = ARGV[2] * 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local many = redis.call('ZCARD', KEYS[1])
local allowed = 0
if many < tonumber(ARGV[1]) then
  allowed = 1
  many = many + 1
  local number = redis.call('INCR', KEYS[1] .. ':n')
  redis.call('ZADD', KEYS[1], now, number)
  redis.call('PEXPIRE', KEYS[1], ARGV[2] * 1000)
  redis.call('PEXPIRE', KEYS[1] .. ':n', ARGV[2] * 1000)
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {allowed, ARGV[1] - many, tostring(first + window - now)}
"""


_LOOK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = ARGV[2] * 1000000
local many = redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now - window), '+inf')
if many == 0 then return {many, '0'} end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now - window), '+inf',
  'WITHSCORES', 'LIMIT', 0, 1)[2]
return {many, tostring(first + window - now)}
"""


class Redis:
    """In Redis, in one round trip, by its clock. After a fault it is left alone for a while."""

    def __init__(self, url: str) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._error = redis.RedisError
        self._broken_until = 0.0
        client = redis.Redis.from_url(
            url,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._client = client
        self._script: Any = client.register_script(_SPEND)
        self._look: Any = client.register_script(_LOOK)

    def answers(self) -> bool:
        """Whether it can be used now."""
        try:
            return bool(self._client.ping())
        except (self._error, OSError):
            return False

    def spend(self, key: str, rate: Rate) -> Spent:
        """As the module says. Raises Unreachable."""
        allowed, remaining, wait = self._run(self._script, key, rate)
        return Spent(bool(allowed), remaining, float(wait) / 1_000_000)

    def look(self, places: Sequence[Place]) -> list[Spent]:
        """As the module says, in one round trip for each key. Raises Unreachable."""
        seen = []
        for key, rate in places:
            many, wait = self._run(self._look, key, rate)
            seen.append(Spent(many < rate.limit, rate.limit - many, float(wait) / 1_000_000))
        return seen

    def _run(self, script: Any, key: str, rate: Rate) -> Any:
        if time.monotonic() < self._broken_until:
            raise Unreachable
        try:
            return script(keys=[f"duely:limit:{{{key}}}"], args=[rate.limit, rate.seconds])
        except (self._error, OSError) as error:
            self._broken_until = time.monotonic() + BREAK_SECONDS
            log.warning("redis does not answer, limits are counted without it", error=type(error).__name__)
            raise Unreachable from None


def shared() -> Redis | None:
    """Redis, where REDIS_URL names one."""
    return Redis(settings.REDIS_URL) if settings.REDIS_URL else None
