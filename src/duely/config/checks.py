"""Refuses dangerous settings, and warns about doubtful ones, each with advice.

The refusals run while the settings are loaded. The warnings are Django system checks, which `duely serve` and
`duely doctor` print.
"""

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as Advice
from django.http.request import validate_host

from duely.config.env import Network, SettingError
from duely.guard.rules import WIDEST

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound to

MINIMUM_KEY_LENGTH = 32
MINIMUM_KEY_CHARACTERS = 8
# Words in keys of templates, tutorials and examples of other projects.
KNOWN_KEY = re.compile(
    r"django-?insecure|change[-_ ]?(me|this)|replace[-_ ]?(me|this)|(your|my|top|super)[-_ ]?secret|secret[-_ ]?key"
    r"|password|example|default|insecure|not[-_ ]?secret|development|12345678",
    re.IGNORECASE,
)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_weak(key: str) -> bool:
    too_short = len(key) < MINIMUM_KEY_LENGTH or len(set(key)) < MINIMUM_KEY_CHARACTERS
    return too_short or bool(KNOWN_KEY.search(key))


def refuse_weak_keys(key: str | None, fallbacks: Sequence[str], *, debug: bool) -> None:
    """Raise SettingError if a key is short, uniform or publicly known. With DEBUG every key is allowed."""
    if debug:
        return
    for name, value in [("SECRET_KEY", key), *(("SECRET_KEY_FALLBACKS", item) for item in fallbacks)]:
        if value is None:
            continue
        if _is_weak(value):
            raise SettingError(
                name,
                f"is weak or known; use at least {MINIMUM_KEY_LENGTH} random characters, for example from: "
                "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'. "
                "Or leave SECRET_KEY out, and Duely makes one in DATA_DIR.",
            )


def refuse_weak_key_file(key: str, path: Path, *, debug: bool) -> None:
    """Raise SettingError if the key in the file is weak. Duely did not generate it, so somebody has replaced it."""
    if not debug and _is_weak(key):
        raise SettingError(
            "DATA_DIR",
            f"{path} holds a weak or known key. Remove the file and run: duely migrate --adopt-key, which makes a new "
            "key. Codes and links that the old key signed work no more.",
        )


def refuse_wide_proxies(networks: Sequence[Network]) -> None:
    """Raise SettingError for a range that is wide enough to contain clients, who could then claim any address."""
    for network in networks:
        if network.prefixlen < WIDEST[network.version] and not network.is_private:
            raise SettingError(
                "TRUSTED_PROXIES",
                f"{network} holds clients, not only proxies: anyone in it could pretend to have any address. "
                "List the proxies' own addresses, such as 10.0.0.5 or 10.0.0.0/8; public ranges must be at least "
                f"a /{WIDEST[4]} (IPv6: /{WIDEST[6]}).",
            )


def refuse_public_debug(*, debug: bool, host: str, public_host: str) -> None:
    """Raise SettingError if others can reach the debug pages, which show settings and data."""
    if debug and not (is_loopback(host) and is_loopback(public_host)):
        public_address = public_host if is_loopback(host) else host
        raise SettingError(
            "DEBUG",
            f"shows private data to everyone who can reach {public_address}. Remove DEBUG, or HOST and PUBLIC_URL.",
        )


def refuse_open_hosts(allowed: Sequence[str], *, debug: bool) -> None:
    """Raise SettingError if any Host header would be accepted."""
    if "*" in allowed and not debug:
        raise SettingError(
            "ALLOWED_HOSTS", "may not be *; list the names people use, for example tasks.example.org,localhost."
        )


def refuse_unknown_address(*, host: str, public_url: str | None, allowed: Sequence[str]) -> None:
    """Raise SettingError if Duely listens on all addresses and no setting gives its public name."""
    if host.strip("[]") in WILDCARDS and public_url is None and not allowed:
        raise SettingError(
            "PUBLIC_URL",
            f"is needed when HOST={host} listens on every address: set it to the address people type, "
            "for example PUBLIC_URL=http://192.168.1.10:8000.",
        )


def register_advice() -> None:
    """Register the checks below with Django. Called after the settings are read."""
    for check in (check_names, check_public_url, check_debug, check_mail_server, check_limits):
        register(check, Tags.compatibility)


def check_names(**options: Any) -> list[CheckMessage]:
    """Warn about names in `.env` that are not settings."""
    from django.conf import settings

    names = ", ".join(settings.MISSPELT_SETTINGS)
    return (
        [Advice(f".env sets what does not exist: {names}", "Correct the spelling.", id="duely.W001")] if names else []
    )


def check_public_url(**options: Any) -> list[CheckMessage]:
    """Check that PUBLIC_URL is in ALLOWED_HOSTS, and warn if it is not encrypted."""
    from django.conf import settings

    url = urlsplit(settings.PUBLIC_URL)
    host = url.hostname or ""
    if not validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS):
        advice = f"Add {host} to ALLOWED_HOSTS, or leave ALLOWED_HOSTS out."
        return [Error(f"{host} of PUBLIC_URL is not in ALLOWED_HOSTS", advice, id="duely.E001")]
    if url.scheme == "http" and not is_loopback(host):
        advice = "Put a reverse proxy with TLS in front, and set PUBLIC_URL=https://…"
        return [Advice(f"{settings.PUBLIC_URL} carries passwords unencrypted", advice, id="duely.W002")]
    return []


def check_debug(**options: Any) -> list[CheckMessage]:
    """Warn about DEBUG, which is for development."""
    from django.conf import settings

    return [Advice("DEBUG is on", "Remove DEBUG when others use this.", id="duely.W003")] if settings.DEBUG else []


def check_mail_server(**options: Any) -> list[CheckMessage]:
    """Warn if mails are printed, or if the mail server's password is sent unencrypted, as some private networks do."""
    from django.conf import settings

    server = settings.MAIL_SERVER
    if server is None and not is_loopback(urlsplit(settings.PUBLIC_URL).hostname or ""):
        advice = "Set EMAIL_URL: codes and links are printed among the logs, and reach nobody."
        return [Advice("mails are printed, not sent", advice, id="duely.W005")]
    if server is None or server.user is None or server.security != "none" or is_loopback(server.host):
        return []
    advice = "Use smtp+starttls://…:587 or smtps://…:465, or leave user and password out."
    return [Advice("EMAIL_URL sends its password unencrypted", advice, id="duely.W004")]


def check_limits(**options: Any) -> list[CheckMessage]:
    """Warn about rate limits that are off."""
    from django.conf import settings

    off = ", ".join(scope for scope, rate in settings.RATE_LIMITS.items() if rate is None)
    advice = "Remove RATE_LIMIT_… to have the usual limit again."
    return [Advice(f"rate limits are off for: {off}", advice, id="duely.W006")] if off else []
