"""Pure functions over header values and settings: addresses, request ids, rates and bans."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, Self
from uuid import UUID

import msgspec
from django.http.request import split_domain_port, validate_host

from duely.core.actor import Origin
from duely.core.clock import whole_seconds

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)


def parse_address(text: str) -> Address | None:
    """An address in the forms that proxies write: with a port, in brackets, with a zone. None if it is invalid."""
    # Longer headers are refused here, so that a caller cannot fill the cache with megabytes.
    return _parse_short_address(text) if len(text) <= MAX_ADDRESS_LENGTH else None


MAX_ADDRESS_LENGTH = 100
"""Characters of the longest address with a zone, a port and spaces around it."""


# Cached, since each request parses the addresses of its client and of each proxy.
@lru_cache(maxsize=1024)
def _parse_short_address(text: str) -> Address | None:
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

    peer: the address of the connection. forwarded_for: the X-Forwarded-For header. Only the hops that trusted proxies
    wrote are used, because a client can send any text in it.
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
    """The address of the client as text, as the log stores it."""
    if not forwarded_for:
        return _canonical_ip(peer)
    address = client_address(peer, forwarded_for, trusted)
    return str(address) if address else None


# Cached, since each request needs the address of its connection as text.
@lru_cache(maxsize=1024)
def _canonical_ip(text: str) -> str | None:
    address = parse_address(text)
    return str(address) if address else None


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def sane_request_id(text: str) -> bool:
    """Whether a request id from a client is safe to repeat in logs and headers."""
    return bool(_SANE_ID.fullmatch(text))


def printable(text: str, limit: int) -> str:
    """Header text for the log: at most `limit` characters, control characters and lone surrogates replaced."""
    text = text[:limit]
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


def is_api(path: str) -> bool:
    """Whether errors under this path are problem documents, not pages."""
    return path == "/api" or path.startswith("/api/")


def is_document(path: str) -> bool:
    """Whether this path is the page of the API documentation."""
    return path.rstrip("/").endswith("/docs") and is_api(path) and api_path(path) == "/api/v1/docs/"


def api_path(path: str) -> str:
    """The canonical form of a path under /api/: with the version and a slash at the end.

    `/api/tasks` → `/api/v1/tasks/`. Such a path is served, not redirected, because a redirect loses a POST's body.
    """
    rest = path.removeprefix("/api").lstrip("/")
    if rest != "v1" and not rest.startswith("v1/"):
        rest = "v1/" + rest
    return f"/api/{rest}" if rest.endswith("/") else f"/api/{rest}/"


# Cached, since nearly all requests have the same Host header.
@lru_cache(maxsize=256)
def is_host(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a Host header is certainly allowed. If not, Django decides, which knows more cases."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)


class FetchMetadata(NamedTuple):
    """The headers Sec-Fetch-Site, Sec-Fetch-Mode and Sec-Fetch-Dest (W3C Fetch Metadata). None if not sent."""

    site: str | None = None
    mode: str | None = None
    dest: str | None = None


def is_foreign_link(method: str, fetch: FetchMetadata) -> bool:
    """Whether a browser follows a link of another site in a tab: not in a frame or another embedded element."""
    return (
        fetch.site is not None
        and fetch.site not in SAME_ORIGIN
        and fetch.mode == "navigate"
        and fetch.dest in {None, "document"}
        and method in {"GET", "HEAD"}
    )


def is_cross_site(method: str, *, fetch: FetchMetadata, origin: str | None, host: str, allowed: Sequence[str]) -> bool:
    """Whether a browser sends this request for a page of another origin that is not allowed (decision 0041).

    origin, host: the headers Origin and Host. allowed: the origins of pages that may send requests.

    `same-site` is refused too, because it is another origin, such as a page on a neighbouring host or port. Such a page
    can send JSON or a token only after a preflight, so a legitimate one is in `allowed` in any case.
    Browsers send no Sec-Fetch headers over plain HTTP. Then Origin decides for methods that change something. Its
    scheme is not compared, because a proxy may terminate TLS.
    """
    if method == "OPTIONS" or fetch.site in SAME_ORIGIN or (origin is not None and origin in allowed):
        return False
    if fetch.site is not None:
        # A link to a document of the API may be followed. A page can load any number of frames by itself.
        return not is_foreign_link(method, fetch)
    return method in CHANGING and origin is not None and not _is_own(origin, host)


def _is_own(origin: str, host: str) -> bool:
    """Whether an origin is the host that a request was sent to. A Host without a port is compared without it.

    Some proxies remove the port from Host (nginx: `proxy_set_header Host $host`).
    """
    scheme, _, address = origin.partition("://")
    if scheme not in {"http", "https"}:
        return False
    name, port = split_domain_port(host)
    return address == host or bool(name and not port and split_domain_port(address)[0] == name)


SAME_ORIGIN = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site for a page of this server, and for a typed address or an extension."""
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Scope(StrEnum):
    """The kinds of requests that have a limit of their own."""

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
        """Parse `50/min`, `5/10min` or `1000/day`. `0` means no limit and gives None. Raises ValueError."""
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


class LimitStatus(msgspec.Struct, frozen=True):
    """The state of a caller's limit. `wait`: seconds until the oldest counted request leaves the window."""

    scope: Scope
    rate: Rate
    is_allowed: bool
    remaining: int
    wait: float

    def headers(self) -> list[tuple[str, str]]:
        """The headers of draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4."""
        return [
            ("RateLimit-Policy", f'"{self.scope}";q={self.rate.limit};w={self.rate.seconds}'),
            ("RateLimit", f'"{self.scope}";r={self.remaining};t={self.retry_after}'),
        ]

    @property
    def retry_after(self) -> int:
        """Seconds for the header Retry-After, at least 1."""
        return whole_seconds(self.wait)


def counted_address(address: str | None) -> str:
    """The network that counts as one caller: an IPv4 address or an IPv6 /64, since one customer has a whole /64."""
    parsed = parse_address(address or "")
    if parsed is None:
        return "unknown"
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def neighbourhood(address: str | None) -> str:
    """The network around an address that may belong to one owner: an IPv4 /24 or an IPv6 /48 (decision 0030)."""
    parsed = parse_address(address or "")
    if parsed is None:
        return "unknown"
    length = 48 if parsed.version == 6 else 24
    return str(ipaddress.ip_network((parsed, length), strict=False))


@dataclass(frozen=True, slots=True)
class LimitHit:
    """A caller that reached a limit, for the change log. `user_id` is None if only the address is known."""

    scope: Scope
    rate: Rate
    user_id: UUID | None
    origin: Origin
    at: datetime


# Bans

MAX_REASON = 255
WIDEST: Final = {4: 8, 6: 16}
"""The shortest prefix of a ban for each IP version. A wider ban would be a mistake or an outage."""
REFUSALS: Final = Rate(100, 600)
"""Refusals that look like an attack, per window, that lead to an automatic ban."""
FIRST_BAN: Final = timedelta(hours=1)
LONGEST_BAN: Final = timedelta(hours=24)
REPEAT_WINDOW: Final = timedelta(days=7)
"""How long an automatic ban makes the next one of the same network longer."""

_LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
# A proxy that is missing in TRUSTED_PROXIES usually has a private address, and all its clients seem to have it too.
_PRIVATE = [
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "0.0.0.0/8"),
        *("fc00::/7", "fe80::/10"),
    )
]
_NETWORK = re.compile(r"(?P<address>[0-9A-Fa-f:.]{2,45})(?:/(?P<length>[0-9]{1,3}))?", re.ASCII)


class BadNetwork(ValueError):
    """The text is not an address or network. The message says why."""


def parse_network(text: str) -> Network:
    """Parse an address or a network such as `203.0.113.0/24`. IPv4-mapped IPv6 becomes IPv4. Raises BadNetwork."""
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
    """The network of `counted_address`, to which an automatic ban applies. None for an invalid address."""
    text = counted_address(address)
    return None if text == "unknown" else ipaddress.ip_network(text)


def overlaps(network: Network, candidates: Sequence[Network]) -> bool:
    """Whether the network shares an address with one of the candidates."""
    return any(network.version == candidate.version and network.overlaps(candidate) for candidate in candidates)


def holds_loopback(network: Network) -> bool:
    """Whether the network contains a loopback address."""
    return overlaps(network, _LOOPBACK)


def is_never_banned(network: Network, trusted: Sequence[Network]) -> bool:
    """Whether the network contains loopback or a trusted proxy, whose ban would refuse everyone (decision 0011)."""
    return holds_loopback(network) or overlaps(network, trusted)


def is_never_banned_automatically(network: Network, trusted: Sequence[Network]) -> bool:
    """Whether only an admin may ban the network. A private address may belong to a proxy that is not configured."""
    return is_never_banned(network, trusted) or overlaps(network, _PRIVATE)


def ban_time(earlier_bans: int) -> timedelta:
    """The length of an automatic ban. It doubles with each earlier ban, up to LONGEST_BAN."""
    factor: int = 2 ** min(earlier_bans, 10)
    return min(FIRST_BAN * factor, LONGEST_BAN)
