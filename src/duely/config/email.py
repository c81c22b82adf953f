"""Translates EMAIL_URL and DEFAULT_FROM_EMAIL to the mail server and the sender."""

import ipaddress
import re
from email.headerregistry import Address
from email.message import EmailMessage
from urllib.parse import SplitResult, unquote, urlsplit

from duely.config.env import SettingError
from duely.mail.rules import Security, Server

NAME = "EMAIL_URL"
ALLOWED = "must be console:, smtp+starttls://user:password@host:587, smtps://user:password@host:465 or smtp://host:25"
SCHEMES = {
    "smtp": (Security.NONE, 25),
    "smtp+starttls": (Security.STARTTLS, 587),
    "smtps": (Security.TLS, 465),
}
SENDER = "DEFAULT_FROM_EMAIL"


def from_url(url: str) -> Server | None:
    """The mail server of a URL; None for `console:`, which prints mails.

    Raises SettingError for an invalid URL. The message never contains the password.
    """
    if url.lower() in {"console:", "console://"}:
        return None
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        # Without "://" the whole text may be a password.
        shown = f"; {scheme[:20]!r} is not supported" if "://" in url else ""
        raise SettingError(NAME, f"{ALLOWED}{shown}.")
    security, default_port = SCHEMES[scheme]
    parts, port = _split(url)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise SettingError(NAME, f"{ALLOWED}, without a path or options; percent-encode what is special in a password.")
    host = _host(parts.hostname or "")
    if not host or port == 0:
        raise SettingError(NAME, f"{ALLOWED}; the name of the server is missing or wrong.")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise SettingError(NAME, f"{ALLOWED}; user and password go together.")
    if not re.fullmatch(r"[ -~]*", user + password):
        raise SettingError(NAME, "a user name and a password for SMTP are made of printable ASCII characters.")
    return Server(host, port or default_port, security, user or None, password or None)


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:
        raise SettingError(NAME, f"{ALLOWED}; percent-encode special characters in the password.") from None


def domain(host: str) -> str:
    """The host of PUBLIC_URL in the form for mail addresses (RFC 5321, section 4.1.3)."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return _ascii(host.rstrip(".")) or "localhost"
    if address.is_loopback or address.is_unspecified:
        return "localhost"
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def sender(text: str) -> str:
    """The canonical form of the sender of all mails: one address, optionally with a name.

    Raises SettingError for any other text.
    """
    reason = f"must be one address such as Duely <duely@example.org>, not {text!r}."
    try:
        message = EmailMessage()
        message["From"] = text
        header = message["From"]
    except (ValueError, IndexError, AttributeError):
        raise SettingError(SENDER, reason) from None
    # "name: a@b, c@d;" is a group. The parser returns a single address as a group without a name.
    if [group.display_name for group in header.groups] != [None] or header.defects or not text.isprintable():
        raise SettingError(SENDER, reason)
    address: Address = header.addresses[0]
    host = address.domain if address.domain.startswith("[") else _ascii(address.domain)
    if not host or not address.username or not address.username.isascii():
        raise SettingError(SENDER, reason)
    return str(Address(address.display_name, address.username, host))


def _host(name: str) -> str:
    return name if ":" in name else _ascii(name)


def _ascii(name: str) -> str:
    """A host name in ASCII (RFC 1123, and underscores, which are in use); "" if it is invalid."""
    try:
        host = name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""
    return host if re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", host) else ""
