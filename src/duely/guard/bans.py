"""The active bans in memory, which each request checks, and the counters that lead to automatic bans.

Nothing here queries the database (decision 0011). `duely.guard.watch` synchronizes the memory with the table.
"""

import ipaddress
import threading
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from django.conf import settings

from duely.core import clock
from duely.core.actor import Origin
from duely.core.errors import AddressBanned
from duely.guard import rules
from duely.guard.rules import Address, Network
from duely.guard.stores import Memory

log = structlog.get_logger("duely.guard")

PERMANENT = datetime.max.replace(tzinfo=UTC)
MAX_COUNTED_ADDRESSES = 10_000
"""Addresses whose refusals are counted at the same time, each with at most 100 instants: about 30 MB in total."""
MAX_PENDING_BANS = 1_000
"""Automatic bans that wait for the database. Bans beyond this apply in this process only and are not stored."""


class Snapshot:
    """Banned networks and when each ban ends.

    A lookup costs one dictionary access for each prefix length in use, so it stays cheap with 100,000 bans
    (decision 0011). Readers take no lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[int, dict[int, dict[int, datetime]]] = {4: {}, 6: {}}

    def is_empty(self) -> bool:
        """Whether this process has never stored a ban."""
        return not (self._tables[4] or self._tables[6])

    def end_of(self, address: Address, now: datetime) -> datetime | None:
        """When the last active ban of this address ends, or PERMANENT. None if no ban is active."""
        number, bits = int(address), address.max_prefixlen
        latest_end = None
        for length, ends in self._tables[address.version].items():
            end = ends.get(number >> (bits - length))
            if end is not None and end > now and (latest_end is None or end > latest_end):
                latest_end = end
        return latest_end

    def put(self, network: Network, until: datetime | None) -> None:
        """Ban a network until a time, or permanently with None."""
        with self._lock:
            lengths = self._tables[network.version]
            if network.prefixlen not in lengths:
                # Requests may be iterating over the old dictionary without a lock, so it is replaced, not changed.
                self._tables[network.version] = lengths = {**lengths, network.prefixlen: {}}
            lengths[network.prefixlen][_number(network)] = until or PERMANENT

    def drop(self, network: Network) -> None:
        """Remove the ban of a network, if there is one."""
        with self._lock:
            self._tables[network.version].get(network.prefixlen, {}).pop(_number(network), None)

    def replace(self, bans: Iterable[tuple[str, datetime | None]]) -> None:
        """Replace all bans by the given ones, in one step for readers."""
        replacement = Snapshot()
        for network, until in bans:
            replacement.put(ipaddress.ip_network(network), until)
        with self._lock:
            self._tables = replacement._tables


def _number(network: Network) -> int:
    """The bits of the prefix as a number: the key of the table for this prefix length."""
    return int(network.network_address) >> (network.max_prefixlen - network.prefixlen)


class PendingBan(NamedTuple):
    """An automatic ban that applies in this process and is not in the database yet."""

    network: Network
    at: datetime


manual = Snapshot()
"""Bans that an admin created. They refuse every caller."""
automatic = Snapshot()
"""Bans created by `count_refusal`. Callers with a valid token pass them (decision 0029)."""
_refusals = Memory(max_keys=MAX_COUNTED_ADDRESSES)
_pending_bans: deque[PendingBan] = deque()


def refusal(ip: str | None) -> AddressBanned | None:
    """The refusal for callers from this address, or None if no ban is active. A ban by an admin takes precedence."""
    # Every request passes here. On a server without bans its address need not be parsed.
    if manual.is_empty() and automatic.is_empty():
        return None
    address = rules.parse_address(ip or "")
    if address is None:
        return None
    now = clock.now()
    manual_end = manual.end_of(address, now)
    end = manual_end or automatic.end_of(address, now)
    # TRUSTED_PROXIES may have changed since the ban was created. Asked last, since few callers are banned.
    if end is None or rules.is_never_banned(ipaddress.ip_network(address), settings.TRUSTED_PROXIES):
        return None
    until = None if end == PERMANENT else clock.rfc3339(end)
    return AddressBanned(until, is_automatic=manual_end is None)


def snapshot(*, is_automatic: bool) -> Snapshot:
    """The snapshot with the automatic bans, or the one with the bans by admins."""
    return automatic if is_automatic else manual


def count_refusal(origin: Origin) -> None:
    """Count a refusal that looks like an attack. Bans the address in this process when `rules.REFUSALS` is reached."""
    network = rules.counted_network(origin.ip)
    if network is None or rules.is_never_banned_automatically(network, settings.TRUSTED_PROXIES):
        return
    if _refusals.spend(str(network), rules.REFUSALS).remaining > 0:
        return
    reset_refusals(network)
    now = clock.now()
    # The ban applies at once. `duely.guard.watch` stores it, with a longer end if this network was banned before.
    automatic.put(network, now + rules.FIRST_BAN)
    if len(_pending_bans) < MAX_PENDING_BANS:
        _pending_bans.append(PendingBan(network, now))
    log.warning(
        "address banned after many wrong tokens, passwords or codes",
        network=str(network),
        request_id=origin.request_id,
    )


def reset_refusals(network: Network) -> None:
    """Restart the count of refusals of a network at zero."""
    _refusals.forget(str(network))


def next_pending_ban() -> PendingBan | None:
    """The oldest ban to store, or None. It stays the next one until `mark_recorded` is called."""
    return _pending_bans[0] if _pending_bans else None


def mark_recorded() -> None:
    """Remove the ban that `next_pending_ban` returned: it is stored."""
    _pending_bans.popleft()


def reset() -> None:
    """Return this process to the state after a start. For tests."""
    manual.replace([])
    automatic.replace([])
    _refusals.clear()
    _pending_bans.clear()
