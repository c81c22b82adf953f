"""Addresses, request ids, rates and bans: pure functions over header values and settings."""

import ipaddress
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, Self
from uuid import UUID

import msgspec
from django.http.request import split_domain_port, validate_host

from duely.core.actor import Origin

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)


def parse_address(text: str) -> Address | None:
    """An address in the forms that proxies write: with a port, in brackets, with a zone. None when it is none."""
    return _parsed(text) if len(text) <= LONGEST else None


LONGEST = 100
"""Characters of an address, as long as it may be, with a port, and blanks around it."""


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Address | None:
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> Address | None:
    """The address of the client: the right-most hop that is not a trusted proxy.

    peer: the address of the connection. forwarded_for: the X-Forwarded-For header, which counts only
    as far as trusted proxies wrote it; from anyone else it is ignored.
    """
    address = parse_address(peer)
    hops = forwarded_for.split(",") if forwarded_for else []
    while address is not None and _is_trusted(address, trusted) and hops:
        previous = parse_address(hops.pop())
        if previous is None:
            break
        address = previous
    return address


def client_ip(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str | None:
    """As `client_address`, in the form that the log has."""
    if not forwarded_for:
        return _ip(peer)
    address = client_address(peer, forwarded_for, trusted)
    return str(address) if address else None


@lru_cache(maxsize=1024)
def _ip(text: str) -> str | None:
    address = parse_address(text)
    return str(address) if address else None


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def sane_request_id(text: str) -> bool:
    """Whether a caller's own request id may stand in our logs and headers."""
    return bool(_SANE_ID.fullmatch(text))


def printable(text: str, limit: int) -> str:
    """Header text for the log: at most `limit` characters, control characters and lone surrogates replaced."""
    text = text[:limit]
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


def is_api(path: str) -> bool:
    """Whether problem documents, not pages, answer under this path."""
    return path == "/api" or path.startswith("/api/")


def is_document(path: str) -> bool:
    """Whether this is the page of the API's documents."""
    return path.rstrip("/").endswith("/docs") and is_api(path) and api_path(path) == "/api/v1/docs/"


def api_path(path: str) -> str:
    """The canonical form of a path under /api/: with the version and the slash at the end.

    `/api/tasks` → `/api/v1/tasks/`. Served, never redirected: a redirect loses a POST's body.
    """
    rest = path.removeprefix("/api").lstrip("/")
    if rest != "v1" and not rest.startswith("v1/"):
        rest = "v1/" + rest
    return f"/api/{rest}" if rest.endswith("/") else f"/api/{rest}/"


@lru_cache(maxsize=256)
def is_host(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a Host header is certainly allowed. In the case of no header or no list, Django knows more."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)


def is_cross_site(
    method: str, *, site: str | None, mode: str | None, origin: str | None, host: str, allowed: Sequence[str]
) -> bool:
    """Whether a browser sends a request for a page of another origin that may not send it.

    site, mode, origin, host: the headers Sec-Fetch-Site, Sec-Fetch-Mode (W3C Fetch Metadata), Origin and Host.
    allowed: the origins of pages that may send requests.

    `same-site` is refused too: it is another origin, such as a page of users at a neighbouring host or port. Such a
    page can only send JSON or a token after a preflight, so a legitimate one is among `allowed` in any case.
    Browsers send no Sec-Fetch headers over plain HTTP; then Origin decides for methods that change something. There
    the scheme is not compared, since a proxy may end TLS.
    """
    if method == "OPTIONS" or site in SAME_ORIGIN or (origin is not None and origin in allowed):
        return False
    if site is not None:
        # Following a link to a document of the API is no attack.
        return method != "GET" or mode != "navigate"
    return method in CHANGING and origin is not None and origin not in {f"http://{host}", f"https://{host}"}


SAME_ORIGIN = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site: a page of this server, and a person who typed the address or uses an extension."""
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Scope(StrEnum):
    """What is limited together."""

    OTP = "otp"
    RESET = "reset"
    LOGIN = "login"
    ANONYMOUS = "anonymous"
    USER = "user"


_RATE = re.compile(r"([1-9]\d{0,5})/(?:([1-9]\d{0,3}) ?)?(s|sec|second|min|minute|m|h|hour|d|day)s?", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` requests within any `seconds` seconds."""

    limit: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """`50/min`, `5/10min` or `1000/day`; `0` for no limit is None. Raises ValueError."""
        if text.strip() == "0":
            return None
        match = _RATE.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError(text)
        limit, count, unit = match.groups()
        seconds = int(count or 1) * _UNITS[unit[0]]
        if seconds > _UNITS["d"]:
            raise ValueError(text)
        return cls(int(limit), seconds)


class Standing(msgspec.Struct, frozen=True):
    """How someone stands with a limit. `wait`: seconds until one more place is free, or the first used one is again."""

    scope: Scope
    rate: Rate
    is_allowed: bool
    remaining: int
    wait: float

    def headers(self) -> list[tuple[str, str]]:
        """As draft-ietf-httpapi-ratelimit-headers-10 writes it (sections 3 and 4)."""
        return [
            ("RateLimit-Policy", f'"{self.scope}";q={self.rate.limit};w={self.rate.seconds}'),
            ("RateLimit", f'"{self.scope}";r={self.remaining};t={self.retry_after}'),
        ]

    @property
    def retry_after(self) -> int:
        """Whole seconds, at least one."""
        return whole_seconds(self.wait)


def whole_seconds(wait: float) -> int:
    """A wait as `Retry-After` says it: at least one second."""
    return max(math.ceil(wait), 1)


def counted_address(address: str | None) -> str:
    """What counts as one caller: an IPv4 address, or the /64 of an IPv6 one, of which one customer has all."""
    parsed = parse_address(address or "")
    if parsed is None:
        return "unknown"
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def neighbourhood(address: str | None) -> str:
    """The network around an address that one owner may have in whole: an IPv4 /24, an IPv6 /48."""
    parsed = parse_address(address or "")
    if parsed is None:
        return "unknown"
    length = 48 if parsed.version == 6 else 24
    return str(ipaddress.ip_network((parsed, length), strict=False))


@dataclass(frozen=True, slots=True)
class LimitHit:
    """Someone has reached a limit: whom the log will name. `user_id` is None for those known by their address alone."""

    scope: Scope
    rate: Rate
    user_id: UUID | None
    origin: Origin
    at: datetime


# Bans

MAX_REASON = 255
WIDEST: Final = {4: 8, 6: 16}
"""The shortest prefix that one ban may have: more would be a mistake, or an outage."""
REFUSALS: Final = Rate(100, 600)
"""So many refused calls within so many seconds get an address banned."""
FIRST_BAN: Final = timedelta(hours=1)
LONGEST_BAN: Final = timedelta(hours=24)
REMEMBERED: Final = timedelta(days=7)
"""For how long an automatic ban makes the next one of the same network longer."""

_LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
# Behind a proxy that TRUSTED_PROXIES does not name, every client has the proxy's address, which is one of these.
_PRIVATE = [
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "0.0.0.0/8"),
        *("fc00::/7", "fe80::/10"),
    )
]
_NETWORK = re.compile(r"(?P<address>[0-9A-Fa-f:.]{2,45})(?:/(?P<length>[0-9]{1,3}))?", re.ASCII)


class BadNetwork(ValueError):
    """Neither an address nor a network; the text says what is wrong."""


def parse_network(text: str) -> Network:
    """An address or a network as `203.0.113.0/24`. IPv4 in IPv6 is taken for IPv4. Raises BadNetwork."""
    text = text.strip()
    match = _NETWORK.fullmatch(text)
    try:
        network = ipaddress.ip_network(text, strict=False) if match else None
    except ValueError:
        network = None
    if match is None or network is None:
        raise BadNetwork("Use an address or a network, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/48.")
    if network.network_address != ipaddress.ip_address(match["address"]):
        raise BadNetwork(f"{text} has bits set after its prefix. Use {network}, or {match['address']} alone.")
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def counted_network(address: str | None) -> Network | None:
    """As `counted_address`: what an automatic ban is of. None for what is no address."""
    counted = counted_address(address)
    return None if counted == "unknown" else ipaddress.ip_network(counted)


def overlaps(network: Network, others: Sequence[Network]) -> bool:
    """Whether they have an address in common with it."""
    return any(network.version == other.version and network.overlaps(other) for other in others)


def holds_loopback(network: Network) -> bool:
    """Whether an address of this machine itself is in it."""
    return overlaps(network, _LOOPBACK)


def is_never_banned(network: Network, trusted: Sequence[Network]) -> bool:
    """Whether it holds this machine or a trusted proxy: whoever bans those bans everyone."""
    return holds_loopback(network) or overlaps(network, trusted)


def is_spared(network: Network, trusted: Sequence[Network]) -> bool:
    """Whether nothing but an admin may ban it: a private address may be a proxy's that nobody has named."""
    return is_never_banned(network, trusted) or overlaps(network, _PRIVATE)


def ban_time(earlier: int) -> timedelta:
    """How long an automatic ban is after so many earlier ones: it doubles."""
    doubled: int = 2 ** min(earlier, 10)
    return min(FIRST_BAN * doubled, LONGEST_BAN)
