"""Addresses and request ids: pure functions over header values."""

import ipaddress
import re
from collections.abc import Sequence

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

