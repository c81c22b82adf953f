"""Typed readers of settings from the environment or a `.env` file.

A reader returns the default if a variable is missing or empty. For an invalid value it raises SettingError, which names
the variable and the allowed values.
"""

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from duely.core.dotenv import UnreadableDotenv, read_dotenv
from duely.guard.rules import Rate

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class SettingError(ImproperlyConfigured):
    """An invalid setting, with which Duely refuses to start. The message is for the operator."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class Environment:
    """Reads settings by name. written: the names in the `.env` file."""

    def __init__(self, values: Mapping[str, str], written: Iterable[str] = ()) -> None:
        self._values = values
        self._written = frozenset(written)
        self._known: set[str] = set()

    def misspelt(self) -> list[str]:
        """Names in the `.env` file that no reader has used so far."""
        return sorted(self._written - self._known)

    def raw(self, name: str) -> str | None:
        """The value of `name`, or the content of the file that `NAME_FILE` points to; None when empty."""
        self._known |= {name, f"{name}_FILE"}
        value = self._values.get(name, "").strip()
        file = self._values.get(f"{name}_FILE", "").strip()
        if value and file:
            raise SettingError(name, f"set either {name} or {name}_FILE, not both.")
        if file:
            value = _read_secret_file(f"{name}_FILE", Path(file))
        return value or None

    def string(self, name: str, default: str) -> str:
        return self.raw(name) or default

    def optional(self, name: str) -> str | None:
        return self.raw(name)

    def boolean(self, name: str, default: bool) -> bool:
        value = self.raw(name)
        if value is None:
            return default
        if value.lower() in TRUE:
            return True
        if value.lower() in FALSE:
            return False
        raise SettingError(name, f"must be true or false, not {value!r}.")

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        value = self.raw(name)
        if value is None:
            return default
        allowed = f"must be a whole number from {minimum} to {maximum}, not {value!r}."
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise SettingError(name, allowed)
        number = int(value)
        if not minimum <= number <= maximum:
            raise SettingError(name, allowed)
        return number

    def choice(self, name: str, default: str, *, allowed: Sequence[str]) -> str:
        value = self.raw(name)
        if value is None:
            return default
        for word in allowed:
            if value.lower() == word.lower():
                return word
        raise SettingError(name, f"must be one of {', '.join(allowed)}, not {value!r}.")

    def words(self, name: str) -> list[str]:
        """A list separated by commas; empty items are dropped."""
        return [word.strip() for word in (self.raw(name) or "").split(",") if word.strip()]

    def networks(self, name: str) -> list[Network]:
        """A list of addresses and CIDR ranges, IPv4 or IPv6."""
        networks: list[Network] = []
        for word in self.words(name):
            try:
                networks.append(ipaddress.ip_network(word))
            except ValueError as error:
                raise SettingError(
                    name, f"must list addresses or ranges such as 10.0.0.0/8 or ::1, not {word!r}: {error}."
                ) from None
        return networks

    def rate(self, name: str, default: str) -> Rate | None:
        """A rate such as `50/min`; None for `0`, which means no limit."""
        value = self.raw(name) or default
        try:
            return Rate.parse(value)
        except ValueError:
            allowed = f"must be a rate such as 50/min or 1000/day, or 0 for none, not {value!r}."
            raise SettingError(name, allowed) from None

    def path(self, name: str, default: Path) -> Path:
        """An absolute path; `~` is the home directory, a relative path starts in the working directory."""
        value = self.raw(name)
        return (Path(value).expanduser() if value else default).absolute()

    def url(self, name: str, *, schemes: Sequence[str]) -> str | None:
        """An address with one of these schemes, or None. An error does not show the address and its password."""
        value = self.raw(name)
        if value is not None and not re.match(rf"({'|'.join(schemes)})://[^\s]", value):
            raise SettingError(name, f"must begin with one of {', '.join(f'{scheme}://' for scheme in schemes)}.")
        return value

    def origin(self, name: str, default: str) -> str:
        """An http or https address without path, query, user or trailing slash."""
        return _origin(name, self.string(name, default))

    def origins(self, name: str) -> list[str]:
        """A list of origins of any scheme in the form of browsers: without the default port."""
        origins = [_origin_of_page(name, word) for word in self.words(name)]
        return [re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin) for origin in origins]


def _origin(name: str, value: str) -> str:
    reason = f"must be an address such as https://tasks.example.org, without path or query, not {value!r}."
    parsed = _parse_origin(value)
    if parsed is None or not parsed.startswith(("http://", "https://")):
        raise SettingError(name, reason)
    return parsed


def _origin_of_page(name: str, value: str) -> str:
    """The origin of a web page, or of an app or extension, which have schemes of their own."""
    parsed = _parse_origin(value)
    if parsed is None or "*" in value:
        raise SettingError(
            name,
            "must list origins such as https://app.example.org, capacitor://localhost or chrome-extension://abcdefgh, "
            f"without path, not {value!r}.",
        )
    return parsed


def _parse_origin(value: str) -> str | None:
    """An origin, `scheme://host[:port]`. None if the text is something else or has more."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    extras = (parts.path.strip("/"), parts.query, parts.fragment, parts.username, parts.password)
    if not parts.scheme or not parts.hostname or any(extras) or re.search(r"\s", value):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def load(directory: Path, process: Mapping[str, str] = os.environ) -> Environment:
    """The variables of `.env` in `directory`, overridden by the environment of the process."""
    try:
        written = read_dotenv(directory / ".env")
    except UnreadableDotenv as error:
        raise SettingError(".env", str(error)) from None
    return Environment({**written, **process}, written)


def _read_secret_file(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(name, f"{path} cannot be read: {error}.") from None
