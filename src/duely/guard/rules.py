"""Addresses, request ids and rates: pure functions over header values and settings."""

import ipaddress
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)


def parse_address(text: str) -> Address | None:
    """An address in the forms that proxies write: with a port, in brackets, with a zone. None when it is none."""
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


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def sane_request_id(text: str) -> bool:
    """Whether a caller's own request id may stand in our logs and headers."""
    return bool(_SANE_ID.fullmatch(text))


def printable(text: str, limit: int) -> str:
    """Header text for the log: at most `limit` characters, control characters and lone surrogates replaced."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:limit])


def is_api(path: str) -> bool:
    """Whether problem documents, not pages, answer under this path."""
    return path == "/api" or path.startswith("/api/")


def is_document(path: str) -> bool:
    """Whether this is the page of the API's documents."""
    return is_api(path) and api_path(path) == "/api/v1/docs/"


def api_path(path: str) -> str:
    """The canonical form of a path under /api/: with the version and the slash at the end.

    `/api/tasks` → `/api/v1/tasks/`. Served, never redirected: a redirect loses a POST's body.
    """
    rest = path.removeprefix("/api").lstrip("/")
    if rest != "v1" and not rest.startswith("v1/"):
        rest = "v1/" + rest
    return f"/api/{rest}" if rest.endswith("/") else f"/api/{rest}/"


class Scope(StrEnum):
    """What is limited together."""

    OTP = "otp"
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


@dataclass(frozen=True, slots=True)
class Standing:
    """How someone stands with a limit. `wait`: seconds until one more place is free, or the first used one is again."""

    scope: Scope
    rate: Rate
    is_allowed: bool
    remaining: int
    wait: float

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-10 writes it (sections 3 and 4)."""
        return {
            "RateLimit-Policy": f'"{self.scope}";q={self.rate.limit};w={self.rate.seconds}',
            "RateLimit": f'"{self.scope}";r={self.remaining};t={self.retry_after}',
        }

    @property
    def retry_after(self) -> int:
        """Whole seconds, at least one."""
        return max(math.ceil(self.wait), 1)


def counted_address(address: str | None) -> str:
    """What counts as one caller: an IPv4 address, or the /64 of an IPv6 one, of which one customer has all."""
    parsed = parse_address(address or "")
    if parsed is None:
        return "unknown"
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
