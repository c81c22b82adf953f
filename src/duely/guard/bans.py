"""The bans that stand, in memory where every request looks, and the count that leads to automatic ones.

Nothing here asks the database. `duely.guard.watch` keeps it in line with the table.
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

FOR_GOOD = datetime.max.replace(tzinfo=UTC)
MOST_COUNTED = 10_000
"""How many addresses are counted at once, each with at most a hundred instants: some 30 MB."""
MOST_WANTED = 1_000


class Snapshot:
    """Networks and when each ban ends. A look costs one dictionary access for each length of prefix that occurs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[int, dict[int, dict[int, datetime]]] = {4: {}, 6: {}}

    def is_empty(self) -> bool:
        """Whether nobody was ever banned."""
        return not (self._tables[4] or self._tables[6])

    def end_of(self, address: Address, now: datetime) -> datetime | None:
        """When the last ban of this address ends, FOR_GOOD if never; None when none stands."""
        number, bits = int(address), address.max_prefixlen
        found = None
        for length, ends in self._tables[address.version].items():
            end = ends.get(number >> (bits - length))
            if end is not None and end > now and (found is None or end > found):
                found = end
        return found

    def put(self, network: Network, until: datetime | None) -> None:
        """Ban it until then; None is for good."""
        with self._lock:
            lengths = self._tables[network.version]
            if network.prefixlen not in lengths:
                # A new dictionary: requests walk through the old one at this moment.
                self._tables[network.version] = lengths = {**lengths, network.prefixlen: {}}
            lengths[network.prefixlen][_number(network)] = until or FOR_GOOD

    def drop(self, network: Network) -> None:
        """Let it in again."""
        with self._lock:
            self._tables[network.version].get(network.prefixlen, {}).pop(_number(network), None)

    def replace(self, bans: Iterable[tuple[str, datetime | None]]) -> None:
        """Ban these, and no others."""
        made = Snapshot()
        for network, until in bans:
            made.put(ipaddress.ip_network(network), until)
        with self._lock:
            self._tables = made._tables


def _number(network: Network) -> int:
    return int(network.network_address) >> (network.max_prefixlen - network.prefixlen)


class Wanted(NamedTuple):
    """A network that this process has banned, and that is not on record yet."""

    network: Network
    at: datetime


standing = Snapshot()
"""Bans that an admin made. They keep everybody out."""
automatic = Snapshot()
"""Bans made by `count_refusal`. Callers who show a valid token pass them (decision 0029)."""
_refusals = Memory(most_keys=MOST_COUNTED)
_wanted: deque[Wanted] = deque()


def refusal(ip: str | None) -> AddressBanned | None:
    """The refusal for callers from this address, None when no ban stands. The ban of an admin counts first."""
    if standing.is_empty() and automatic.is_empty():
        return None
    address = rules.parse_address(ip or "")
    if address is None:
        return None
    now = clock.now()
    admins_end = standing.end_of(address, now)
    end = admins_end or automatic.end_of(address, now)
    if end is None or rules.is_never_banned(ipaddress.ip_network(address), settings.TRUSTED_PROXIES):
        return None
    return AddressBanned(None if end == FOR_GOOD else clock.rfc3339(end), is_automatic=admins_end is None)


def snapshot(*, is_automatic: bool) -> Snapshot:
    """The snapshot that holds bans of this kind."""
    return automatic if is_automatic else standing


def count_refusal(origin: Origin) -> None:
    """Count a refusal that looks like an attack. The last of too many bans the address in this process."""
    network = rules.counted_network(origin.ip)
    if network is None or rules.is_spared(network, settings.TRUSTED_PROXIES):
        return
    if _refusals.spend(str(network), rules.REFUSALS).remaining > 0:
        return
    begin_anew(network)
    now = clock.now()
    automatic.put(network, now + rules.FIRST_BAN)
    if len(_wanted) < MOST_WANTED:
        _wanted.append(Wanted(network, now))
    about = "address banned after many wrong tokens, passwords or codes"
    log.warning(about, network=str(network), request_id=origin.request_id)


def begin_anew(network: Network) -> None:
    """Forget what was counted of it."""
    _refusals.forget(str(network))


def next_wanted() -> Wanted | None:
    """One that is to be put on record; it waits until `recorded` says that it is."""
    return _wanted[0] if _wanted else None


def recorded() -> None:
    """The next one is on record."""
    _wanted.popleft()


def forget() -> None:
    """Begin anew in this process, as after a start. For tests."""
    standing.replace([])
    automatic.replace([])
    _refusals.clear()
    _wanted.clear()
